// SPDX-License-Identifier: Apache-2.0
// Messages of the model transport on the streams of the model network: whole ones in, whole ones
// out. All of them begin with their length.
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "transport.h"

_Static_assert(offsetof(struct sim_tp_msg, len) == 0 && offsetof(struct sim_tp_req, len) == 0 &&
                   offsetof(struct sim_tp_rsp, len) == 0,
               "the length stands first");

/* The length of the message that begins in the stream; 0: it has not come. */
static uint32_t length_of(const struct sim_tp_stream *in)
{
    uint32_t len = 0;
    if (in->have >= sizeof(len)) {
        memcpy(&len, in->bytes, sizeof(len));
    }
    return len;
}

int sim_tp_receive(struct sim_sock *sock, struct sim_tp_stream *in)
{
    uint32_t len = length_of(in);
    if (in->done) { /* the last one has been taken */
        memmove(in->bytes, in->bytes + len, in->have - len);
        in->have -= len;
        in->done = 0;
        len = length_of(in);
    }
    for (;;) {
        if (len && (len < sizeof(len) || len > sizeof(in->bytes))) {
            return -1;
        }
        if (len && in->have >= len) {
            in->done = 1;
            return 1;
        }
        ssize_t n = sim_sock_recv(sock, in->bytes + in->have, sizeof(in->bytes) - in->have);
        if (n <= 0) {
            return n < 0 && errno == EAGAIN ? 0 : -1;
        }
        in->have += (uint32_t)n;
        len = length_of(in);
    }
}

int sim_tp_flush(struct sim_sock *sock, struct sim_tp_stream *out)
{
    while (out->done < out->have) {
        ssize_t n = sim_sock_send(sock, out->bytes + out->done, out->have - out->done);
        if (n < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        out->done += (uint32_t)n;
    }
    out->have = out->done = 0;
    return 1;
}

void sim_tp_put_msg(struct sim_tp_stream *out, struct sim_tp_msg *msg)
{
    msg->len = (uint32_t)(offsetof(struct sim_tp_msg, segs) + msg->count * sizeof(msg->segs[0]));
    memcpy(out->bytes + out->have, msg, msg->len);
    out->have += msg->len;
}

void sim_tp_msg_init(const struct sim_tp *tp, enum sim_tp_type type, uint32_t pool, uint64_t to,
                     struct sim_tp_msg *msg)
{
    memset(msg, 0, sizeof(*msg));
    msg->type = type;
    msg->rank = tp->host->rank;
    msg->pool = pool;
    msg->world_id = tp->host->world_id;
    msg->incarnation = tp->host->incarnation;
    msg->to = to;
    msg->port = tp->listener ? sim_listener_port(tp->listener) : 0;
    msg->host = (uint16_t)tp->number;
}
