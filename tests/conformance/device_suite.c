// SPDX-License-Identifier: Apache-2.0
// Runs the conformance suite over one device plug-in: `test_conformance_device sim`, or the path of
// a plug-in; without an argument MF_DEVICE says which.
#include "device_suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

extern char **environ;

void place_create(struct suite *s, uint64_t size, struct place *out)
{
    out->size = size;
    mf_assert_ok(DEV(s, mem_create, size, &out->mem));
    mf_assert_ok(DEV(s, window_reserve, 0, size, &out->addr));
    mf_assert_ok(DEV(s, map, out->addr, out->mem, 0, size));
}

void place_destroy(struct suite *s, struct place *place)
{
    mf_assert_ok(DEV(s, unmap, place->addr, place->size));
    DEV(s, window_release, place->addr, place->size);
    DEV(s, mem_destroy, place->mem);
}

uint64_t whole_units(const struct suite *s, uint64_t len)
{
    return (len + s->unit - 1) & ~(s->unit - 1);
}

void skip_without(int rc, const char *member)
{
    if (rc == SMEM_NOT_EXIST && strstr(mf_err_msg(), "its table has no")) {
        print_message("skipped: the plug-in has no %s (optional)\n", member);
        skip();
    }
}

uint64_t soon(struct suite *s)
{
    return mf_deadline_ns(&s->env, 10000);
}

int sync_stream(struct suite *s)
{
    return DEV(s, stream_sync, s->stream, soon(s));
}

void pattern(uint8_t *buf, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        buf[i] = (uint8_t)((seed + i) * 2654435761u >> 16);
    }
}

static int setup(void **state)
{
    struct suite *s = *state;
    int rc = mf_dev_open(&s->env, &s->config, s->plugin, 0, &s->dev);
    if (!rc && !s->dev) {
        rc = mf_dev_none(&s->env, &s->config, s->plugin);
    }
    if (rc) {
        print_error("open %s: %s\n", s->plugin, mf_err_msg());
        return -1;
    }
    s->unit = s->dev->info.granularity;
    return DEV(s, stream_create, &s->stream);
}

static int teardown(void **state)
{
    struct suite *s = *state;
    if (s->stream) {
        DEV(s, stream_destroy, s->stream);
    }
    mf_dev_close(s->dev);
    s->stream = NULL;
    s->dev = NULL;
    return 0;
}

#define CASE(name)                                        \
    {                                                     \
#name, test_device__##name, setup, teardown, NULL \
    }

static const struct CMUnitTest cases[] = {
    CASE(says_what_it_is),
    CASE(refuses_an_ordinal_that_is_not_there),
    CASE(memory_is_zeroed),
    CASE(refuses_sizes_off_the_granularity),
    CASE(window_is_where_it_was_granted),
    CASE(map_needs_a_window),
    CASE(map_refuses_overlap),
    CASE(unmap_takes_whole_mappings),
    CASE(query_knows_mappings_only),
    CASE(memory_outlives_its_handle_while_mapped),
    CASE(part_of_memory_maps_at_an_offset),
    CASE(punched_memory_reads_zero),
    CASE(import_sees_the_exporters_bytes),
    CASE(import_refuses_a_stranger),
    CASE(two_instances_share_nothing),
    CASE(close_frees_what_is_left),
    CASE(copies_in_every_direction),
    CASE(copies_at_odd_offsets_and_sizes),
    CASE(copy_crosses_adjacent_mappings),
    CASE(copy_refuses_what_is_not_mapped),
    CASE(copy_of_nothing_is_fine),
    CASE(batch_copies_all),
    CASE(batch_names_the_element_it_refuses),
    CASE(fill_sets_its_range_only),
    CASE(fill_refuses_what_is_not_mapped),
    CASE(small_elements_do_not_tear),
    CASE(stream_keeps_its_order),
    CASE(sync_of_an_idle_stream_returns),
    CASE(wait_holds_the_stream_until_the_word),
    CASE(wait_is_released_by_a_larger_word),
    CASE(words_must_be_aligned),
    CASE(sync_keeps_its_deadline),
    CASE(event_happens_when_the_stream_is_there),
    CASE(event_recorded_again_replaces),
    CASE(stream_waits_for_an_event),
    CASE(held_stream_can_be_destroyed),
    CASE(host_function_sees_device_memory),
    CASE(streams_of_many_threads),
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

int main(int argc, char **argv)
{
    struct suite s = {.log = MF_LOG_INIT};
    struct CMUnitTest tests[CASES];
    mf_env_init_real(&s.env, &s.log);
    mf_config_defaults(&s.config);
    if (mf_config_load(&s.config, environ, &s.log)) {
        fprintf(stderr, "%s\n", mf_err_msg());
        return 1;
    }
    s.plugin = argc > 1 ? argv[1] : mf_config_str(&s.config, MF_OPT_DEVICE);
    memcpy(tests, cases, sizeof(tests));
    for (size_t i = 0; i < CASES; i++) {
        tests[i].initial_state = &s;
    }
    printf("device plug-in %s\n", s.plugin);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
