/* The echo server of tcp_echo.py as one writes it in C: one thread, epoll, level-triggered, one recv and one send a
   message. `tcp_echo CONNECTIONS` prints its port, serves until so many connections have ended, and prints the CPU
   seconds that it has used since the last of them came. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define SIZE 65536

static char buffer[SIZE];

static void must(int held, const char *what)
{
    if (!held) {
        perror(what);
        exit(1);
    }
}

static double cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void watch(int poller, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
}

/* Sends all of it; waits where the kernel takes no more, which 64 bytes at a time never need. */
static int send_all(int fd, const char *data, size_t left)
{
    while (left) {
        ssize_t sent = send(fd, data, left, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -1;
        data += sent;
        left -= (size_t)sent;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct epoll_event events[EVENTS];
    long left = argc == 2 ? strtol(argv[1], NULL, 10) : 0, missing = left;
    double connected = 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int poller = epoll_create1(0);

    must(left > 0, "usage: tcp_echo CONNECTIONS");
    must(listener >= 0 && poller >= 0, "socket");
    must(bind(listener, (struct sockaddr *)&address, length) == 0, "bind");
    must(listen(listener, (int)left) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(poller, listener);
    while (left) {
        int count = epoll_wait(poller, events, EVENTS, 60000);
        must(count > 0 || (count < 0 && errno == EINTR), "epoll_wait");
        for (int index = 0; index < count; index++) {
            int fd = events[index].data.fd;
            if (fd == listener) {
                int accepted;
                while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    watch(poller, accepted);
                    if (!--missing)
                        connected = cpu();
                }
                continue;
            }
            ssize_t got = recv(fd, buffer, SIZE, 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR))
                continue;
            if (got <= 0 || send_all(fd, buffer, (size_t)got) < 0) {
                close(fd);
                left--;
            }
        }
    }
    printf("%.9f\n", cpu() - connected);
    return 0;
}
