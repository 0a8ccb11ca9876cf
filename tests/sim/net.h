// SPDX-License-Identifier: Apache-2.0
// The model network: ordered streams of bytes between processes of hosts. What is sent arrives in
// pieces, later, or not at all while a direction is cut; what is in flight is limited, so that a
// sender is held up. The network decides by the machine's choices.
#ifndef MF_SIM_NET_H
#define MF_SIM_NET_H

#include <sys/types.h>

#include "sim.h"

/** After sim_open. */
void sim_net_open(void);
/** Before sim_close: frees every connection that there still is. */
void sim_net_close(void);

struct sim_sock;
struct sim_listener;

/** Host h is 10.0.(h / 256).(h % 256) in URLs; also 127.0.0.1 for processes of the host itself. */
void sim_net_url(uint32_t host, uint16_t port, char *out, size_t len);
/** False: no address of the model. */
bool sim_net_host_of(const char *address, uint32_t self, uint32_t *host);

/** Accept connections to this process's host at the port (0: a free one); each is given to
 * accept(arg, sock) on the loop's thread. SMEM_RES_IN_USE when somebody has the port. */
int sim_net_listen(struct mf_loop *loop, uint16_t port,
                   void (*accept)(void *arg, struct sim_sock *sock), void *arg,
                   struct sim_listener **out);
uint16_t sim_listener_port(const struct sim_listener *listener);
void sim_net_unlisten(struct sim_listener *listener);

/** Begin to connect. `ready(arg)` is called on the loop's thread whenever something has changed: it
 * is connected, has bytes, takes bytes again, has failed or ended; and again after a read that left
 * something. */
struct sim_sock *sim_net_connect(struct mf_loop *loop, uint32_t host, uint16_t port,
                                 void (*ready)(void *arg), void *arg);
/** Who is told of an accepted one. */
void sim_sock_serve(struct sim_sock *sock, struct mf_loop *loop, void (*ready)(void *arg),
                    void *arg);
/** 0: connecting still; 1: connected (also when it has ended since); -1: failed, and
 * sim_sock_recv tells why. */
int sim_sock_connected(const struct sim_sock *sock);
/** As send(2) and recv(2) without waiting: -1 with errno EAGAIN, ECONNRESET, ECONNREFUSED,
 * ETIMEDOUT, EPIPE; recv gives 0 at the end. */
ssize_t sim_sock_send(struct sim_sock *sock, const void *data, size_t len);
ssize_t sim_sock_recv(struct sim_sock *sock, void *buf, size_t len);
/** No more is sent; what comes can still be read. */
void sim_sock_shutdown(struct sim_sock *sock);
/** Also frees. Unread bytes reset the other end, as TCP does. A process that ends closes all. */
void sim_sock_close(struct sim_sock *sock);
/** The process at the other end (as a test knows it; NULL: gone). */
struct sim_proc *sim_sock_peer(const struct sim_sock *sock);
/** Its address: "10.0.0.3:40001". */
void sim_sock_peer_name(const struct sim_sock *sock, char *out, size_t len);

/* ---- misfortune ---- */

/** Nothing gets from host a to host b any more (one direction). Connections fail with ETIMEDOUT
 * when bytes have waited for `SIM_NET_GIVE_UP_NS`. */
#define SIM_NET_GIVE_UP_NS (20ull * 1000000000ull)
void sim_net_cut(uint32_t a, uint32_t b);
/** What waited is sent again soon: after as long as the cut has lasted, at most 0.4 s. */
void sim_net_heal(uint32_t a, uint32_t b);
void sim_net_heal_all(void);
/** Reset every connection between the two hosts. */
void sim_net_reset(uint32_t a, uint32_t b);
/** Every piece takes so many times longer; 1 at first. */
void sim_net_slow(uint32_t a, uint32_t b, uint32_t factor);

#endif
