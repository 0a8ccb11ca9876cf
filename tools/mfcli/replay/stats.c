// SPDX-License-Identifier: Apache-2.0
// Adds up what clients and ranks have counted.
#include "stats.h"

void stats_merge(struct replay_stats *into, const struct replay_stats *from)
{
    into->requests += from->requests;
    into->blocks += from->blocks;
    into->hits += from->hits;
    into->remote += from->remote;
    into->puts += from->puts;
    into->got_bytes += from->got_bytes;
    into->get_ns += from->get_ns;
    into->put_bytes += from->put_bytes;
    into->put_ns += from->put_ns;
    into->wrong_bytes += from->wrong_bytes;
    into->lost += from->lost;
    into->unput += from->unput;
    into->evictions += from->evictions;
    into->expired += from->expired;
    hist_merge(&into->get_hist, &from->get_hist);
}
