// The live page in a real Chromium.  The environment variable SCREENSHOT names
// a file for a picture of it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { booksAreRight, clientOf, done, patience, refused, sql, startGateway, until } from './support.js';

const database = 'empty_shop';
let browser, gateway, client;
before(async () => {
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    timeout: patience,
    args: [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync',
    ],
  });
  await sql(`CREATE DATABASE ${database}`);
  await sql(`CREATE SCHEMA inv; ALTER DATABASE ${database} SET search_path = public, inv`, [], database);
  await sql(`CREATE EXTENSION inventory_reservation SCHEMA inv`, [], database);
  await sql(`SELECT inv_grant('gateway', 'buyer'), inv_grant('gateway', 'operator')`, [], database);
  gateway = await startGateway({ PGDATABASE: database });
  client = clientOf(gateway);
});
after(async () => {
  await browser?.close();
  await gateway?.stop();
});

// A page that is live, and remembers that it has not been loaded again.
async function open(viewport) {
  const page = await browser.newPage({ viewport });
  page.setDefaultTimeout(patience);
  page.mistakes = [];
  page.on('pageerror', (error) => page.mistakes.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') page.mistakes.push(message.text());
  });
  await page.goto(gateway.url);
  await page.waitForSelector('.live.on');
  await page.evaluate(() => (window.loadedOnce = true));
  return page;
}

async function close(page) {
  assert.equal(await page.evaluate(() => window.loadedOnce), true, 'it was not loaded again');
  assert.deepEqual(page.mistakes, []);
  await page.close();
}

const cell = (sku, name) => `tr[data-sku="${sku}"] .${name}`;
const has = (page, selector, text) => page.waitForSelector(`${selector}:text-is("${text}")`);

test('an empty database', async () => {
  const page = await open({ width: 1280, height: 800 });
  await page.waitForSelector('text="There are no items with stock yet."');
  await page.waitForSelector('text="Nothing is held."');
  await page.waitForSelector('text="Nothing has been sold yet."');
  await page.waitForSelector('text=/nothing wrong at/');
  assert.equal(await page.isVisible('#pages'), false);
  // The first item comes by itself.
  done(await client.post('/inventory', { sku: 'CAMERA001', productName: 'System camera', price: 1599.99, currency: 'EUR', quantity: 5 }), 201);
  await has(page, cell('CAMERA001', 'available'), '5');
  await close(page);
});

test('a hold appears with its countdown, is confirmed, and is a sale', async () => {
  const page = await open({ width: 1280, height: 800 });
  await has(page, cell('CAMERA001', 'available'), '5');
  const { reservationId } = done(
    await client.post('/inventory/reserve', { sku: 'CAMERA001', quantity: 2, userId: 'ada' }), 201);

  const row = `#holds [data-reservation="${reservationId}"]`;
  await page.waitForSelector(row);
  assert.match(await page.textContent(row), /2 × CAMERA001.*ada.*€3,199\.98/s);
  const left = async () => {
    const [, minutes, seconds] = /^(\d):(\d\d)$/.exec(await page.textContent(`${row} .countdown`));
    return 60 * minutes + Number(seconds);
  };
  const first = await left();
  assert.ok(first > 0 && first <= 300, `${first} seconds`);
  await page.waitForFunction(
    ([selector, text]) => document.querySelector(selector)?.textContent !== text,
    [`${row} .countdown`, await page.textContent(`${row} .countdown`)],
  );
  assert.ok((await left()) < first, 'it counts down');
  await has(page, cell('CAMERA001', 'available'), '3');
  await has(page, cell('CAMERA001', 'held'), '2');
  await has(page, cell('CAMERA001', 'on-hand'), '5');
  await has(page, '#held-units', '2');

  done(await client.post('/checkout/confirm', { reservationId }));
  await page.waitForSelector(`#sales [data-reservation="${reservationId}"]`);
  await page.waitForSelector(row, { state: 'detached' });
  await has(page, cell('CAMERA001', 'held'), '0');
  await has(page, cell('CAMERA001', 'on-hand'), '3');
  await has(page, '#sales-count', '1');
  await close(page);
});

test('a hold that nobody confirms goes by the clock', async () => {
  const page = await open({ width: 1280, height: 800 });
  const { reservationId } = done(
    await client.post('/inventory/reserve', { sku: 'CAMERA001', quantity: 3, userId: 'bob', ttlSeconds: 4 }), 201);
  await page.waitForSelector('.tag:text-is("all held")');
  await page.waitForSelector(`#holds [data-reservation="${reservationId}"]`, { state: 'detached' });
  await has(page, cell('CAMERA001', 'available'), '3');
  await close(page);
});

test('what somebody calls a SKU is text', async () => {
  const page = await open({ width: 1280, height: 800 });
  const names = ['<script>window.hacked = true</script>', '<img src=x onerror="window.hacked=true">', '"><b>bold'];
  for (const sku of names) {
    done(await client.post('/inventory', { sku, productName: sku, quantity: 4 }), 201);
    const { reservationId } = done(await client.post('/inventory/reserve', { sku, userId: sku }), 201);
    await page.waitForSelector(`#holds [data-reservation="${reservationId}"]`);
    const text = await page.textContent(`#holds [data-reservation="${reservationId}"]`);
    assert.ok(text.includes(sku), text);
    done(await client.post('/checkout/confirm', { reservationId }));
    await page.waitForSelector(`#sales [data-reservation="${reservationId}"]`);
    await page.waitForFunction(
      (name) => [...document.querySelectorAll('#stock .name')].some((node) => node.textContent === name),
      sku,
    );
  }
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.equal(await page.evaluate(() => document.querySelectorAll('#stock script, #stock img, #stock b').length), 0);
  await close(page);
});

test('a connection that breaks comes back, and nothing is missed', async () => {
  const page = await open({ width: 1280, height: 800 });
  const port = new URL(gateway.url).port;
  await gateway.stop('SIGKILL');
  await page.waitForSelector('.live.off');
  await sql(`SELECT inv_receive('CAMERA001', 100)`, [], database);
  gateway = await startGateway({ PGDATABASE: database, GATEWAY_PORT: port });
  client = clientOf(gateway);
  await page.waitForSelector('.live.on');
  await has(page, cell('CAMERA001', 'on-hand'), '103');
  // The browser reports each attempt that failed.
  page.mistakes = page.mistakes.filter((text) => !/Failed to load resource|net::ERR/.test(text));
  await close(page);
});

test('books that are wrong are said to be', async () => {
  const page = await open({ width: 1280, height: 800 });
  await page.waitForSelector('text=/nothing wrong at/');
  const change = (units) =>
    sql(`UPDATE inv_stock SET on_hand = on_hand + $1 FROM inv_item
          WHERE inv_stock.item_id = inv_item.item_id AND sku = 'CAMERA001'`, [units], database);
  await change(1);
  try {
    await page.click('#check');
    await page.waitForSelector('.health .alarm:text("1 violation at")');
    assert.match(await page.textContent('.health .alarm'), /on_hand differs from the ledger/);
    assert.equal(await page.isVisible('#alarm'), true);
  } finally {
    await change(-1);
  }
  await page.click('#check');
  await page.waitForSelector('text=/nothing wrong at/');
  assert.equal(await page.isVisible('#alarm'), false);
  await close(page);
});

test('a thousand SKUs, a page at a time, on screens of any width', async () => {
  await sql(
    `SELECT FROM inv_load_stock(
       ARRAY(SELECT 'ITEM' || lpad(nr::text, 4, '0') FROM generate_series(1, 1000) AS nr ORDER BY nr),
       ARRAY(SELECT nr::bigint FROM generate_series(1, 1000) AS nr ORDER BY nr))`, [], database);
  const page = await open({ width: 1280, height: 800 });
  await page.fill('#search', 'item');
  await has(page, cell('ITEM0001', 'available'), '1');
  assert.equal(await page.locator('#stock tr').count(), 25);
  for (let number = 2; number <= 40; number++) {
    await page.click('#next');
    await has(page, '#page-number', `Page ${number}`);
  }
  await has(page, cell('ITEM1000', 'available'), '1,000');
  assert.equal(await page.isDisabled('#next'), true);
  // What is shown follows the events on any page.
  done(await client.post('/inventory/reserve', { sku: 'ITEM1000', quantity: 600, userId: 'ada' }), 201);
  await has(page, cell('ITEM1000', 'available'), '400');
  await page.click('#previous');
  await has(page, cell('ITEM0975', 'available'), '975');
  await page.fill('#search', 'nothing like this');
  await page.waitForSelector('text="No SKU begins like this."');

  await booksAreRight(database);
  for (const width of [1920, 1280, 900, 620, 360]) {
    await page.setViewportSize({ width, height: 800 });
    await page.fill('#search', '');
    await page.waitForSelector(cell('CAMERA001', 'available'));
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}`);
  }
  await close(page);
});

test('a picture of a shop on a busy day', { skip: !process.env.SCREENSHOT }, async () => {
  await sql(`DROP DATABASE IF EXISTS busy_shop`);
  await sql(`CREATE DATABASE busy_shop`);
  const run = (text) => sql(text, [], 'busy_shop');
  await run(`CREATE SCHEMA inv; ALTER DATABASE busy_shop SET search_path = public, inv`);
  await run(`CREATE EXTENSION inventory_reservation SCHEMA inv`);
  await run(`SELECT inv_grant('gateway', 'buyer'), inv_grant('gateway', 'operator')`);
  await run(readFileSync(new URL('../../demo/catalogue.sql', import.meta.url), 'utf8'));
  const shop = await startGateway({ PGDATABASE: 'busy_shop' });
  const buyer = clientOf(shop);
  const hold = async (userId, sku, quantity, ttlSeconds) =>
    done(await buyer.post('/inventory/reserve', { userId, sku, quantity, ttlSeconds }), 201);
  for (const [userId, sku, quantity] of [
    ['marta', 'PHONE001', 2], ['jonas', 'HEADSET001', 4], ['school', 'TABLET001', 5],
    ['li', 'CHARGER001', 12], ['marta', 'LAPTOP001', 1],
  ]) {
    const { reservationId } = await hold(userId, sku, quantity);
    done(await buyer.post('/checkout/confirm', { reservationId, userId }));
  }
  await hold('ada', 'CAMERA001', 2, 84);
  await hold('bob', 'CAMERA001', 1, 210);
  await hold('office', 'LAPTOP001', 2, 271);
  await hold('theatre', 'SPEAKER001', 8, 1500);
  await hold('cleo', 'WATCH001', 1, 300);
  refused(await buyer.post('/inventory/reserve', { userId: 'dan', sku: 'CAMERA001' }), 409, 'IV001');
  // As if it had taken a while.
  await run(`UPDATE inv_reservation SET created_at = expires_at - interval '5 minutes'
              WHERE status = 'active' AND expires_at < created_at + interval '5 minutes'`);
  await run(`UPDATE inv_reservation SET closed_at = closed_at - quantity * quantity * interval '19 seconds'
              WHERE status = 'confirmed'`);

  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  await until('a worker has come by', async () => {
    await page.goto(shop.url);
    await page.waitForSelector('.live.on');
    await page.waitForSelector('text=/nothing wrong at/');
    return page.isVisible('text=/last run/');
  });
  await has(page, '#held-units', '14');
  await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true, animations: 'disabled' });
  await page.close();
  await shop.stop();
});
