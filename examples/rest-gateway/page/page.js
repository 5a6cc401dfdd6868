// The live page.  Events only say that something has changed: what is shown is
// then read anew, at most once a second, so it is right whatever was missed.
//
// What must never happen: text from the database that becomes markup.  Nodes
// are made by element(), which takes text as text; nothing here makes HTML.

const itemsPerPage = 25;
const holdsShown = 50;
const salesShown = 20;
const checkEvery = 10 * 60 * 1000;
const unlimited = 2 ** 53;

const $ = (id) => document.getElementById(id);
const count = new Intl.NumberFormat('en');
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

function show(node, visible) {
  node.hidden = !visible;
}

function units(number) {
  return number >= unlimited ? 'any number' : count.format(number);
}

function money(amount, currency) {
  if (amount === null) {
    return '';
  }
  try {
    return new Intl.NumberFormat('en', { style: 'currency', currency }).format(amount);
  } catch {
    // No currency, or one of the shop's own.
    return [amount.toFixed(2), currency].filter(Boolean).join(' ');
  }
}

function when(time) {
  const date = new Date(time);
  return (Date.now() - date < 12 * 3600 * 1000 ? clock : day).format(date);
}

async function read(path) {
  const response = await fetch(path, { cache: 'no-store' });
  const { data, error } = await response.json();
  if (!response.ok) {
    throw new Error(error);
  }
  return data;
}

//
// Items, a page at a time
//

// The SKU after which each page begins; the last one is that which is shown.
let pages = [null];
let next = null;
// SKU and column => number, now and before: what is new is marked.
let shown = new Map();
let before = shown;

function itemsPath() {
  const query = new URLSearchParams({ limit: itemsPerPage });
  const after = pages[pages.length - 1];
  const prefix = $('search').value.trim();
  if (after !== null) query.set('after', after);
  if (prefix) query.set('prefix', prefix);
  return `/inventory?${query}`;
}

async function readItems() {
  const path = itemsPath();
  const data = await read(path);
  // Else the reader has turned the page meanwhile.
  if (path === itemsPath()) renderItems(data);
}

function renderItems(data) {
  next = data.next;
  before = shown;
  shown = new Map();
  $('stock').replaceChildren(...data.items.map(itemRow));
  show($('stock-empty'), data.items.length === 0);
  $('stock-empty').textContent = $('search').value.trim()
    ? 'No SKU begins like this.'
    : 'There are no items with stock yet.';
  show($('pages'), pages.length > 1 || next !== null);
  $('page-number').textContent = `Page ${pages.length}`;
  $('previous').disabled = pages.length === 1;
  $('next').disabled = next === null;
}

function itemRow(item) {
  const row = element('tr', '');
  const title = element('div', 'name', item.productName ?? item.sku);
  if (!item.onSale) {
    title.append(element('span', 'tag quiet', 'not on sale'));
  } else if (item.availableQuantity === 0) {
    title.append(element('span', 'tag', item.reservedQuantity > 0 ? 'all held' : 'sold out'));
  }
  const name = element('td', '', title);
  if (item.productName !== null && item.productName !== item.sku) {
    name.append(element('div', 'sku', item.sku));
  }
  row.dataset.sku = item.sku;
  row.append(
    name,
    element('td', 'number wide', money(item.price, item.currency)),
    numberCell(item, 'availableQuantity', 'available'),
    numberCell(item, 'reservedQuantity', 'held'),
    numberCell(item, 'totalQuantity', 'on-hand'),
    element('td', 'wide', stockBar(item)),
  );
  return row;
}

function numberCell(item, field, className) {
  const cell = element('td', `number ${className}`, units(item[field]));
  const name = `${item.sku}\n${field}`;
  if (item[field] === 0) cell.classList.add('nil');
  if (before.has(name) && before.get(name) !== item[field]) cell.classList.add('fresh');
  shown.set(name, item[field]);
  return cell;
}

function stockBar(item) {
  const free = element('div', 'bar-free');
  const held = element('div', 'bar-held');
  const whole = Math.max(item.totalQuantity, item.reservedQuantity, 1);
  free.style.width = `${(100 * Math.min(item.availableQuantity, whole)) / whole}%`;
  held.style.width = `${(100 * item.reservedQuantity) / whole}%`;
  return element('div', 'bar', free, held);
}

function turnTo(list) {
  pages = list;
  readItems().catch(changed);
}

//
// Holds, with what is left of their time by this machine's steady clock
//

let fuses = [];
// Ids are in the order of their making.
let newestHold = null;

function renderHolds(data) {
  const now = performance.now();
  fuses = [];
  $('holds').replaceChildren(...data.holds.map((hold) => holdRow(hold, now)));
  newestHold = [newestHold ?? '', ...data.holds.map((hold) => hold.reservationId)].sort().pop();
  show($('holds-empty'), data.total === 0);
  show($('holds-more'), data.total > data.holds.length);
  $('holds-more').textContent = `and ${count.format(data.total - data.holds.length)} more`;
  $('holds-count').textContent = data.total > 0 ? count.format(data.total) : '';
  $('held-units').textContent = count.format(data.units);
  $('held-note').textContent = data.total === 1 ? 'units, in 1 hold' : `units, in ${count.format(data.total)} holds`;
  burn();
}

function holdRow(hold, now) {
  const countdown = element('span', 'countdown');
  const spark = element('div', '');
  const row = element(
    'li',
    'row',
    element('span', 'row-main', linesText(hold.lines)),
    countdown,
    element('span', 'row-note', hold.userId ?? 'no name'),
    element('span', 'row-side', money(hold.totalPrice, hold.currency)),
    element('div', 'fuse', spark),
  );
  row.dataset.reservation = hold.reservationId;
  if (newestHold !== null && hold.reservationId > newestHold) row.classList.add('fresh');
  fuses.push({ countdown, spark, ends: now + hold.expiresIn * 1000, lifetime: hold.lifetime * 1000 });
  return row;
}

function linesText(lines) {
  return lines
    .filter((line) => line.quantity > 0)
    .map((line) => `${count.format(line.quantity)} × ${line.sku}`)
    .join(', ');
}

// Every second: what is left of each hold.  One whose time is over is free at
// that very moment, and no event tells of it.
function burn() {
  const now = performance.now();
  let over = false;
  for (const { countdown, spark, ends, lifetime } of fuses) {
    const left = Math.max(0, ends - now);
    const seconds = Math.ceil(left / 1000);
    const rest = [Math.floor(seconds / 60) % 60, seconds % 60].map((part) => String(part).padStart(2, '0'));
    const hours = Math.floor(seconds / 3600);
    countdown.textContent = hours > 0 ? `${hours}:${rest.join(':')}` : rest.join(':').replace(/^0/, '');
    countdown.classList.toggle('soon', seconds <= 30);
    spark.style.width = `${Math.min(100, (100 * left) / lifetime)}%`;
    over ||= left === 0;
  }
  if (over) changed();
}

//
// Sales
//

let knownSales = null;

function renderSales({ sales }) {
  const lineOf = (sale) => `${sale.reservationId} ${sale.line}`;
  $('sales').replaceChildren(
    ...sales.map((sale) => {
      const note = [sale.userId ?? 'no name'];
      if (sale.returned > 0) note.push(`${count.format(sale.returned)} returned`);
      const row = element(
        'li',
        'row',
        element('span', 'row-main', linesText([sale])),
        element('span', 'row-side', money(sale.totalPrice, sale.currency)),
        element('span', 'row-note', note.join(', ')),
        element('span', 'row-side', when(sale.soldAt)),
      );
      row.dataset.reservation = sale.reservationId;
      if (knownSales && !knownSales.has(lineOf(sale))) row.classList.add('fresh');
      return row;
    }),
  );
  knownSales = new Set(sales.map(lineOf));
  show($('sales-empty'), sales.length === 0);
}

//
// Health: the counters, and what a check of the books has found
//

let books = ['not checked yet', false];
let counters = null;

function renderHealth() {
  const lines = [];
  if (counters) {
    const { counting } = counters;
    $('sales-count').textContent = counting ? count.format(counters.confirms) : '–';
    $('sales-note').textContent = counting ? `since ${when(counters.since)}` : 'not counted';
    $('refused-count').textContent = counting ? count.format(counters.refused) : '–';
    $('expired-count').textContent = counting ? count.format(counters.expired) : '–';
    const dead = counters.oldestDeadHold;
    lines.push(['Sweeping', dead === null ? 'keeps up' : `${Math.round(dead)} s behind`, dead > 90]);
    if (counting) {
      const failures = counters.workerFailures;
      const worker = counters.workerLastRun
        ? `last run ${when(counters.workerLastRun)}`
        : 'has not run';
      lines.push([
        'Worker',
        failures > 0 ? `${worker}; ${count.format(failures)} failures` : worker,
        counters.workerLastError !== null,
      ]);
      lines.push(['Lock waits', count.format(counters.lockWaits)]);
      lines.push(['Drifts', counters.driftsFound > 0 ? count.format(counters.driftsFound) : 'none found', counters.driftsFound > 0]);
    } else {
      lines.push(['Counters', 'off: the library is not preloaded']);
    }
  }
  lines.push(['Books', ...books]);
  $('health').replaceChildren(
    ...lines.map(([name, text, alarm]) =>
      element('div', '', element('dt', '', name), element('dd', alarm ? 'alarm' : '', text)),
    ),
  );
  show($('alarm'), lines.some(([, , alarm]) => alarm));
}

async function checkBooks() {
  $('check').disabled = true;
  try {
    const { at, violations } = await read('/check');
    books =
      violations.length === 0
        ? [`nothing wrong at ${when(at)}`, false]
        : [`${count.format(violations.length)} violation${violations.length > 1 ? 's' : ''} at ${when(at)}: ${violationsText(violations)}`, true];
  } catch (error) {
    books = [`could not be checked: ${error.message}`, true];
  }
  $('check').disabled = false;
  renderHealth();
}

function violationsText(violations) {
  return [...new Set(violations.map((found) => found.violation))].join(', ');
}

//
// Keeping up
//

let stale = true;
let wake = () => {};

// Something has changed: it is read at once, or a second after the last time,
// with all that comes meanwhile.
function changed() {
  stale = true;
  wake();
}

async function keepUp() {
  for (;;) {
    while (!stale) await new Promise((resolve) => (wake = resolve));
    stale = false;
    try {
      await readAll();
      if (events.readyState === EventSource.OPEN) live('on', 'Live');
    } catch (error) {
      live('off', `No answer: ${error.message}`);
      stale = true;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function readAll() {
  const [holds, sales, health] = await Promise.all([
    read(`/holds?limit=${holdsShown}`),
    read(`/sales?limit=${salesShown}`),
    read('/health'),
    readItems(),
  ]);
  renderHolds(holds);
  renderSales(sales);
  counters = health;
  renderHealth();
}

function live(state, text) {
  $('live').className = `live ${state}`;
  $('live').textContent = text;
}

let events;
function listen() {
  events = new EventSource('/events');
  events.addEventListener('ready', changed);
  events.onmessage = changed;
  events.onerror = () => {
    live('off', 'Connection lost, trying again');
    // The browser gives up on an answer that is an error: begin anew.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

$('next').addEventListener('click', () => turnTo([...pages, next]));
$('previous').addEventListener('click', () => turnTo(pages.slice(0, -1)));
$('search').addEventListener('input', () => turnTo([null]));
$('check').addEventListener('click', checkBooks);

listen();
keepUp();
checkBooks();
setInterval(burn, 1000);
setInterval(checkBooks, checkEvery);
// What no event tells: counters, and the clock.
setInterval(changed, 15000);
