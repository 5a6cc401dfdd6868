/*
 * Peer "redis_lock": a lock in Redis around plain SQL in PostgreSQL.
 *
 * Guarantees: what the SQL guarantees, which is that of peer "for_update"
 * without its row lock: a key that replays, one transaction.  That nothing is
 * oversold hangs on the lock alone: where a client stalls for longer than the
 * lock lives, two of them are inside.  Does not: reclaim dead holds, serve
 * waiting buyers in any order.
 *
 * A hold is three round trips: SET lock token NX PX to Redis until it is
 * granted, the SQL function to PostgreSQL, and a script that deletes the lock
 * if it is still ours.  Who is refused sleeps for a moment that doubles up to
 * max_sleep, and a random part of it, as the usual client libraries do.
 *
 *	redis_lock REDIS_SOCKET CONNINFO CLIENTS SECONDS FIRST_SKU LAST_SKU
 *
 * Prints "transactions seconds" and then the time of each in microseconds.
 */
#include <libpq-fe.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const int lock_lives = 5000;		/* ms */
static const int64_t first_sleep = 200; /* us */
/*
 * Sleeping less would let the lock lie idle for less, but hundreds of buyers
 * who ask every few milliseconds leave no time for the one with the lock.
 */
static const int64_t max_sleep = 50000; /* us */

static const char *unlock_script =
	"if redis.call('GET', KEYS[1]) == ARGV[1] then "
	"return redis.call('DEL', KEYS[1]) else return 0 end";

static const char *redis_socket;
static const char *conninfo;
static long first_sku;
static long last_sku;
static int64_t ends_at;
static pthread_barrier_t all_connected;

typedef struct Client
{
	pthread_t	thread;
	int			redis;
	PGconn	   *postgres;
	uint64_t	random;
	int64_t    *times;
	size_t		count;
	size_t		room;
} Client;

static void
fail(const char *what, const char *detail)
{
	fprintf(stderr, "redis_lock: %s: %s\n", what, detail);
	exit(1);
}

static int64_t
microseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * (int64_t) 1000000 + now.tv_nsec / 1000;
}

static uint64_t
next_random(Client *client)
{
	client->random ^= client->random << 13;
	client->random ^= client->random >> 7;
	client->random ^= client->random << 17;
	return client->random;
}

/* Sends a command and reads its reply, of which one line is all we need. */
static void
redis_command(Client *client, char *reply, size_t size,
			  const char **words, int count)
{
	char		request[1024];
	size_t		length;
	size_t		got = 0;

	length = snprintf(request, sizeof(request), "*%d\r\n", count);
	for (int i = 0; i < count; i++)
		length += snprintf(request + length, sizeof(request) - length,
						   "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
	if (write(client->redis, request, length) != (ssize_t) length)
		fail("redis", "write failed");
	do
	{
		ssize_t		part = read(client->redis, reply + got, size - 1 - got);

		if (part <= 0)
			fail("redis", "connection lost");
		got += part;
		reply[got] = '\0';
	} while (strstr(reply, "\r\n") == NULL);
	if (reply[0] == '-')
		fail("redis", reply);
}

static void
take_lock(Client *client, const char *lock, const char *token)
{
	char		lives[16];
	char		reply[256];
	const char *words[] = {"SET", lock, token, "NX", "PX", lives};
	int64_t		sleep_for = first_sleep;

	snprintf(lives, sizeof(lives), "%d", lock_lives);
	for (;;)
	{
		redis_command(client, reply, sizeof(reply), words, 6);
		if (reply[0] == '+')
			return;
		usleep(sleep_for / 2 + next_random(client) % sleep_for);
		if (sleep_for < max_sleep)
			sleep_for *= 2;
	}
}

static void
give_lock_back(Client *client, const char *lock, const char *token)
{
	char		reply[256];
	const char *words[] = {"EVAL", unlock_script, "1", lock, token};

	redis_command(client, reply, sizeof(reply), words, 5);
}

static void
reserve(Client *client)
{
	char		sku[24];
	char		lock[40];
	char		key[24];
	char		customer[24];
	const char *values[] = {sku, key, customer};
	PGresult   *result;

	snprintf(sku, sizeof(sku), "%ld",
			 first_sku + (long) (next_random(client)
								 % (uint64_t) (last_sku - first_sku + 1)));
	snprintf(lock, sizeof(lock), "lock:%s", sku);
	snprintf(key, sizeof(key), "%llu",
			 (unsigned long long) next_random(client));
	snprintf(customer, sizeof(customer), "%llu",
			 (unsigned long long) (next_random(client) % 1000000));

	take_lock(client, lock, key);
	result = PQexecPrepared(client->postgres, "reserve", 3, values,
							NULL, NULL, 0);
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		fail("reserve", PQerrorMessage(client->postgres));
	PQclear(result);
	give_lock_back(client, lock, key);
}

static void *
run(void *argument)
{
	Client	   *client = argument;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	PGresult   *result;
	int64_t		start;

	strncpy(address.sun_path, redis_socket, sizeof(address.sun_path) - 1);
	client->redis = socket(AF_UNIX, SOCK_STREAM, 0);
	if (client->redis < 0
		|| connect(client->redis, (struct sockaddr *) &address,
				   sizeof(address)) != 0)
		fail("redis", "cannot connect");
	client->postgres = PQconnectdb(conninfo);
	if (PQstatus(client->postgres) != CONNECTION_OK)
		fail("postgres", PQerrorMessage(client->postgres));
	result = PQprepare(client->postgres, "reserve",
					   "SELECT * FROM inv_reserve($1, 1, $2, $3)", 3, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail("prepare", PQerrorMessage(client->postgres));
	PQclear(result);

	pthread_barrier_wait(&all_connected);
	pthread_barrier_wait(&all_connected);	/* main has set ends_at */
	while ((start = microseconds()) < ends_at)
	{
		reserve(client);
		if (client->count == client->room)
		{
			client->room = client->room ? client->room * 2 : 1024;
			client->times = realloc(client->times,
									client->room * sizeof(int64_t));
			if (client->times == NULL)
				fail("memory", "none left");
		}
		client->times[client->count++] = microseconds() - start;
	}
	PQfinish(client->postgres);
	close(client->redis);
	return NULL;
}

int
main(int argc, char **argv)
{
	int			clients;
	size_t		transactions = 0;
	int64_t		start;
	double		elapsed;
	Client	   *client;

	if (argc != 7)
		fail("usage", "REDIS_SOCKET CONNINFO CLIENTS SECONDS FIRST LAST");
	redis_socket = argv[1];
	conninfo = argv[2];
	clients = atoi(argv[3]);
	first_sku = atol(argv[5]);
	last_sku = atol(argv[6]);
	client = calloc(clients, sizeof(Client));
	if (client == NULL)
		fail("memory", "none left");

	pthread_barrier_init(&all_connected, NULL, clients + 1);
	for (int i = 0; i < clients; i++)
	{
		client[i].random = (uint64_t) time(NULL) * 2654435761u
			+ (uint64_t) getpid() * 40503u + (i + 1) * 0x9E3779B97F4A7C15u;
		if (pthread_create(&client[i].thread, NULL, run, &client[i]) != 0)
			fail("thread", "cannot start");
	}
	pthread_barrier_wait(&all_connected);
	start = microseconds();
	ends_at = start + atol(argv[4]) * 1000000;
	pthread_barrier_wait(&all_connected);
	for (int i = 0; i < clients; i++)
	{
		pthread_join(client[i].thread, NULL);
		transactions += client[i].count;
	}
	elapsed = (microseconds() - start) / 1e6;
	printf("%zu %.3f\n", transactions, elapsed);
	for (int i = 0; i < clients; i++)
	{
		for (size_t n = 0; n < client[i].count; n++)
			printf("%d %zu %lld\n", i, n, (long long) client[i].times[n]);
	}
	return 0;
}
