/*
 * A plain proxy of the udp backend, for benchmarks: the other end of a path that is not tulle's. One packet for each
 * system call and one IPv4 packet for each datagram, without offloads, batches and checks, as flannel's program does.
 *
 *   plain-proxy DEVICE OWN-ADDRESS PEER-ADDRESS PORT
 *
 * The device exists. Prints "ready" when it carries packets; ends with its terminal or by a signal.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define PACKET_BYTES 1472
#define IPV4_HEADER_BYTES 20

static void check(int result, const char *what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

static int open_device(const char *name) {
  int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  check(fd, "open /dev/net/tun");
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  check(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
  check(ioctl(fd, TUNSETOFFLOAD, 0), "TUNSETOFFLOAD");
  return fd;
}

static struct sockaddr_in address_of(const char *text, const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
  if (inet_pton(AF_INET, text, &address.sin_addr) == 1) return address;
  fprintf(stderr, "%s is not an IPv4 address\n", text);
  exit(1);
}

/* One hop (RFC 791), and the header's checksum changed accordingly (RFC 1624). False for a packet to drop. */
static int take_hop(uint8_t *packet, ssize_t length) {
  if (length < IPV4_HEADER_BYTES || packet[0] >> 4 != 4 || packet[8] <= 1) return 0;
  packet[8] -= 1;
  uint32_t sum = (packet[10] << 8 | packet[11]) + 0x100;
  sum += sum >> 16;
  packet[10] = sum >> 8;
  packet[11] = sum;
  return 1;
}

int main(int count, char **arguments) {
  if (count != 5) {
    fprintf(stderr, "usage: plain-proxy DEVICE OWN-ADDRESS PEER-ADDRESS PORT\n");
    return 2;
  }
  uint8_t packet[PACKET_BYTES];
  struct sockaddr_in own = address_of(arguments[2], arguments[4]);
  struct sockaddr_in peer = address_of(arguments[3], arguments[4]);
  int device = open_device(arguments[1]);
  int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  check(udp, "socket");
  check(bind(udp, (struct sockaddr *)&own, sizeof own), "bind");
  struct pollfd polls[] = {{.fd = device, .events = POLLIN}, {.fd = udp, .events = POLLIN}};
  puts("ready");
  fflush(stdout);
  for (;;) {
    if (poll(polls, 2, -1) < 0 && errno != EINTR) check(-1, "poll");
    ssize_t length;
    /* What cannot be sent or written is lost, as on a link. */
    while ((length = read(device, packet, sizeof packet)) > 0)
      if (take_hop(packet, length)) (void)!sendto(udp, packet, length, 0, (struct sockaddr *)&peer, sizeof peer);
    while ((length = recv(udp, packet, sizeof packet, 0)) >= 0)
      if (take_hop(packet, length)) (void)!write(device, packet, length);
  }
}
