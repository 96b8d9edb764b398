/*
 * What a packet's way costs: one process on one core is both ends of several pairs of network namespaces, in turns.
 * What it waits for is the kernel's work on that way and nothing else, so that a low quantile is free of what the
 * machine does besides.
 *
 *     path-cost ROUNDS { SENDER-NETNS RECEIVER-NETNS ADDRESS }...
 *
 * Prints a line for each pair: nanoseconds for a datagram of 64 bytes, and for 1 MB over TCP.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 7777, DATAGRAM = 64, STREAM = 1000000, CHUNK = 65536, MAX_PAIRS = 8, GIVE_UP_NS = 10000000 };

static char buffer[CHUNK];

static long now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000L + now.tv_nsec;
}

static int socket_in(const char *netns, int type)
{
	int fd = open(netns, O_RDONLY);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		err(1, "%s", netns);
	close(fd);
	fd = socket(AF_INET, type, 0);
	if (fd < 0)
		err(1, "socket");
	return fd;
}

/* The two ends of a connection through the overlay. */
static void connect_ends(char **pair, int type, int *from, int *to)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int listener = socket_in(pair[1], type);

	if (bind(listener, (void *)&address, sizeof(address)) < 0)
		err(1, "bind");
	if (type == SOCK_STREAM && listen(listener, 1) < 0)
		err(1, "listen");
	*from = socket_in(pair[0], type);
	inet_pton(AF_INET, pair[2], &address.sin_addr);
	if (connect(*from, (void *)&address, sizeof(address)) < 0)
		err(1, "connect to %s", pair[2]);
	*to = type == SOCK_STREAM ? accept(listener, NULL, NULL) : listener;
	fcntl(*from, F_SETFL, O_NONBLOCK);
	fcntl(*to, F_SETFL, O_NONBLOCK);
}

/* A lost datagram counts as one that took GIVE_UP_NS. */
static long transfer(int from, int to, long bytes)
{
	long start = now_ns(), sent = 0, received = 0;

	while (received < bytes && (bytes == STREAM || now_ns() - start < GIVE_UP_NS)) {
		long rest = bytes - sent;
		ssize_t count = rest > 0 ? send(from, buffer, rest < CHUNK ? rest : CHUNK, 0) : 0;

		if (count > 0)
			sent += count;
		count = recv(to, buffer, CHUNK, 0);
		if (count > 0)
			received += count;
	}
	return now_ns() - start;
}

static int compare(const void *left, const void *right)
{
	long difference = *(const long *)left - *(const long *)right;

	return (difference > 0) - (difference < 0);
}

static void measure(int type, long bytes, int rounds, int pairs, char **names, long *quartiles)
{
	int from[MAX_PAIRS], to[MAX_PAIRS];
	long *taken[MAX_PAIRS];

	for (int pair = 0; pair < pairs; pair++) {
		connect_ends(names + 3 * pair, type, &from[pair], &to[pair]);
		taken[pair] = calloc(rounds, sizeof(long));
	}
	for (int round = -rounds / 10; round < rounds; round++)
		for (int turn = 0; turn < pairs; turn++) {
			int pair = (round + rounds + turn) % pairs;
			long ns = transfer(from[pair], to[pair], bytes);

			if (round >= 0)
				taken[pair][round] = ns;
		}
	for (int pair = 0; pair < pairs; pair++) {
		qsort(taken[pair], rounds, sizeof(long), compare);
		quartiles[pair] = taken[pair][rounds / 4];
		close(from[pair]);
		close(to[pair]);
	}
}

int main(int count, char **arguments)
{
	int pairs = (count - 2) / 3, rounds = count > 1 ? atoi(arguments[1]) : 0;
	long datagram[MAX_PAIRS], stream[MAX_PAIRS];
	cpu_set_t core;

	if (pairs < 1 || pairs > MAX_PAIRS || rounds < 10)
		errx(2, "usage: path-cost ROUNDS { SENDER-NETNS RECEIVER-NETNS ADDRESS }...");
	CPU_ZERO(&core);
	CPU_SET(0, &core);
	sched_setaffinity(0, sizeof(core), &core);
	measure(SOCK_DGRAM, DATAGRAM, rounds * 10, pairs, arguments + 2, datagram);
	measure(SOCK_STREAM, STREAM, rounds, pairs, arguments + 2, stream);
	for (int pair = 0; pair < pairs; pair++)
		printf("%ld %ld\n", datagram[pair], stream[pair]);
}
