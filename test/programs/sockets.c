/* Sockets as WasmEdge's programs open them, and preview 1's own calls on them. Arguments say what to do. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
struct address { uint8_t *buf; uint32_t size; };
struct vec { void *buf; uint32_t size; };
struct sockaddr_out { uint8_t family; uint32_t len; uint8_t *data; };
struct info { uint16_t flags; uint8_t family, type, protocol; uint32_t addrlen; struct sockaddr_out *addr; char *name; uint32_t namelen; struct info *next; };
IMPORT(sock_open) uint32_t sock_open(uint32_t family, uint32_t type, int *fd);
IMPORT(sock_bind) uint32_t sock_bind(int fd, struct address *a, uint32_t port);
IMPORT(sock_listen) uint32_t sock_listen(int fd, uint32_t backlog);
IMPORT(sock_connect) uint32_t sock_connect(int fd, struct address *a, uint32_t port);
IMPORT(sock_accept) uint32_t sock_accept_v1(int fd, int *out);
IMPORT(sock_send_to) uint32_t sock_send_to(int fd, struct vec *v, uint32_t n, struct address *a, uint32_t port, uint32_t flags, uint32_t *sent);
IMPORT(sock_recv_from) uint32_t sock_recv_from(int fd, struct vec *v, uint32_t n, struct address *a, uint32_t flags, uint32_t *port, uint32_t *got, uint32_t *oflags);
IMPORT(sock_getpeeraddr) uint32_t sock_getpeeraddr(int fd, struct address *a, uint32_t *type, uint32_t *port);
IMPORT(sock_getlocaladdr) uint32_t sock_getlocaladdr(int fd, struct address *a, uint32_t *type, uint32_t *port);
IMPORT(sock_getsockopt) uint32_t sock_getsockopt(int fd, int level, int name, void *value, uint32_t *size);
IMPORT(sock_setsockopt) uint32_t sock_setsockopt(int fd, int level, int name, const void *value, uint32_t size);
IMPORT(sock_getaddrinfo) uint32_t sock_getaddrinfo(const char *node, uint32_t nl, const char *service, uint32_t sl, struct info *hint, struct info **res, uint32_t max, uint32_t *count);

static uint8_t ip[4];
static struct address peer = { ip, 4 };
static uint32_t sum;
static void check(const char *what, uint32_t result) { if (result) { printf("%s failed: %u\n", what, result); exit(1); } }
static void to(const char *text) { unsigned b[4]; sscanf(text, "%u.%u.%u.%u", b, b + 1, b + 2, b + 3); for (int i = 0; i < 4; i++) ip[i] = b[i]; }
static int open_socket(int type) { int fd = -1; check("sock_open", sock_open(1, type, &fd)); return fd; }
static int call(const char *host, int port) { int fd = open_socket(2); to(host); check("sock_connect", sock_connect(fd, &peer, port)); return fd; }
static long drain(int fd) {
  static char buffer[65536]; long total = 0;
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) != 0; total += n) {
    if (n < 0) { printf("recv failed: %d\n", errno); exit(1); }
    for (ssize_t i = 0; i < n; i++) sum = sum * 31 + (uint8_t)buffer[i];
  }
  return total;
}
static void send_pattern(int fd, long bytes) {
  static char buffer[50000];
  for (long at = 0; at < bytes;) {
    long n = bytes - at < (long)sizeof buffer ? bytes - at : (long)sizeof buffer;
    for (long i = 0; i < n; i++) { buffer[i] = (at + i) * 7 + (at + i) / 1000; sum = sum * 31 + (uint8_t)buffer[i]; }
    for (long done = 0; done < n;) { ssize_t k = send(fd, buffer + done, n - done, 0); if (k <= 0) { printf("send failed: %d\n", errno); exit(1); } done += k; }
    at += n;
  }
}

int main(int argc, char **argv) {
  const char *what = argv[1];
  setvbuf(stdout, 0, _IOLBF, 0);
  if (!strcmp(what, "fetch")) {
    int fd = call(argv[2], atoi(argv[3]));
    char request[200]; snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", argv[4]);
    if (write(fd, request, strlen(request)) < 0) printf("write failed: %d\n", errno);
    uint8_t a[4]; struct address out = { a, 4 }; uint32_t type = 0, port = 0;
    check("getpeeraddr", sock_getpeeraddr(fd, &out, &type, &port));
    printf("peer %u.%u.%u.%u:%u\n", a[0], a[1], a[2], a[3], port);
    long n = drain(fd);
    printf("fetched %ld sum %u\n", n, sum);
  } else if (!strcmp(what, "serve")) {
    /* Preview 1 alone: a listening socket that the configuration gives, poll, accept, fcntl. */
    struct pollfd p = { .fd = atoi(argv[2]), .events = POLLIN };
    printf("ready\n");
    if (poll(&p, 1, -1) != 1) printf("poll failed: %d\n", errno);
    int fd = accept4(p.fd, 0, 0, SOCK_NONBLOCK);
    if (fd < 0) { printf("accept failed: %d\n", errno); return 1; }
    char request[1000]; ssize_t n;
    while ((n = recv(fd, request, sizeof request - 1, 0)) < 0 && errno == EAGAIN) { p.fd = fd; poll(&p, 1, 1000); }
    request[n > 0 ? n : 0] = 0;
    printf("request %.*s\n", (int)strcspn(request, "\r"), request);
    fcntl(fd, F_SETFL, 0);
    char head[100]; snprintf(head, sizeof head, "HTTP/1.0 200 OK\r\nContent-Length: %s\r\n\r\n", argv[3]);
    send(fd, head, strlen(head), 0);
    sum = 0;
    send_pattern(fd, atol(argv[3]));
    printf("served sum %u\n", sum);
    shutdown(fd, SHUT_WR);
    drain(fd);
  } else if (!strcmp(what, "listen")) {
    int fd = open_socket(2), port = atoi(argv[2]); uint8_t a[128]; struct address any = { ip, 4 };
    check("sock_bind", sock_bind(fd, &any, port));
    check("sock_listen", sock_listen(fd, 5));
    printf("listening\n");
    int got; check("sock_accept", sock_accept_v1(fd, &got));
    long n = drain(got);
    printf("received %ld sum %u\n", n, sum);
    char text[40]; snprintf(text, sizeof text, "%ld %u", n, sum);
    send(got, text, strlen(text), 0);
    close(got);
    (void)a;
  } else if (!strcmp(what, "push")) {
    int fd = call(argv[2], atoi(argv[3]));
    send_pattern(fd, atol(argv[4]));
    shutdown(fd, SHUT_WR);
    char text[41] = ""; ssize_t n = recv(fd, text, 40, MSG_WAITALL);
    printf("sent sum %u, it says %.*s\n", sum, (int)(n > 0 ? n : 0), text);
  } else if (!strcmp(what, "udp")) {
    int fd = open_socket(1); to(argv[2]);
    struct vec v = { argv[4], strlen(argv[4]) }; uint32_t n = 0, port = 0, flags = 0;
    check("sock_send_to", sock_send_to(fd, &v, 1, &peer, atoi(argv[3]), 0, &n));
    char buffer[100]; uint8_t a[128]; struct address from = { a, 128 }; struct vec in = { buffer, sizeof buffer };
    check("sock_recv_from", sock_recv_from(fd, &in, 1, &from, 0, &port, &n, &flags));
    printf("datagram %.*s from %u.%u.%u.%u:%u family %u\n", (int)n, buffer, a[2], a[3], a[4], a[5], port, a[0]);
  } else if (!strcmp(what, "name")) {
    static uint8_t data[4][26]; static struct sockaddr_out addr[4]; static struct info infos[4];
    for (int i = 0; i < 4; i++) { addr[i].data = data[i]; infos[i].addr = &addr[i]; infos[i].next = i < 3 ? &infos[i + 1] : 0; }
    struct info hint = { .family = 1, .type = 2 }, *res = infos; uint32_t count = 0, error;
    error = sock_getaddrinfo(argv[2], strlen(argv[2]) + 1, "80", 3, &hint, &res, 4, &count);
    printf("name %u, %u found", error, count);
    for (uint32_t i = 0; i < count; i++) printf(" %u.%u.%u.%u:%u", data[i][2], data[i][3], data[i][4], data[i][5], data[i][0] << 8 | data[i][1]);
    printf("\n");
  } else if (!strcmp(what, "edges")) {
    int fd = open_socket(2), port = atoi(argv[3]), value; uint32_t size = 4; long long second[2] = { 0, 100000 };
    to(argv[2]);
    printf("refused %u\n", sock_connect(fd, &peer, 1));
    close(fd);
    fd = open_socket(2);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    printf("in progress %u\n", sock_connect(fd, &peer, port));
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    printf("poll %d %d\n", poll(&p, 1, 5000), p.revents & POLLOUT ? 1 : 0);
    check("getsockopt", sock_getsockopt(fd, 0, 2, &value, &size));
    printf("error %d\n", value);
    char c; printf("again %d\n", recv(fd, &c, 1, 0) < 0 && errno == EAGAIN);
    fcntl(fd, F_SETFL, 0);
    check("setsockopt", sock_setsockopt(fd, 0, 11, second, 16));
    printf("timeout %d\n", recv(fd, &c, 1, 0) < 0 && errno == EAGAIN);
    printf("bad pointer %u\n", sock_connect(fd, (struct address *)0xfffffff0, 1));
    printf("no socket %u\n", sock_listen(1, 1));
    printf("inet6 %u\n", sock_open(2, 2, &fd));
    int many = 0; while (many < 2000 && sock_open(1, 1, &fd) == 0) { struct address any = { ip, 4 }; if (sock_bind(fd, &any, 0)) break; many++; }
    printf("bounded %d\n", many < 2000);
  }
  return 0;
}
