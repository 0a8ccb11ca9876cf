// SPDX-License-Identifier: Apache-2.0
// Tests of the table of trace points: its columns, and the file that gets it every period.
#include "unit/trace_rig.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "trace/file.h"

static char folder[] =
    "/tmp/mf-trace-XXXXXX"; /* of this run; files in it are removed by each test */
static int warnings;

static void count_warning(int level, const char *msg)
{
    warnings += level == MF_LOG_WARN && strstr(msg, "trace table") != NULL;
}

/* ---- columns ---- */

struct row {
    char time[24], name[41];
    double value[8]; /* as the heads */
};

static void assert_number(double got, double wanted, double room)
{
    if (!(got >= wanted - room && got <= wanted + room)) {
        fail_msg("%.17g is not %.17g", got, wanted);
    }
}

enum { BEGIN, GOOD, BAD, ON_FLY, MIN_US, MAX_US, AVG_US, TOTAL_US };

static void cut(char *out, const char *from, size_t width)
{
    memcpy(out, from, width);
    while (width > 0 && out[width - 1] == ' ') {
        width--;
    }
    out[width] = '\0';
}

/* By columns, not by words. */
static void parse(const char *line, struct row *row)
{
    cut(row->time, line, 23);
    cut(row->name, line + 23, 40);
    for (int i = 0; i < 8; i++) {
        char text[16];
        char *end = NULL;
        cut(text, line + 63 + 15 * i, 15);
        row->value[i] = strtod(text, &end);
        assert_true(end != text && *end == '\0');
        assert_true(strchr(text, ' ') == NULL);
    }
    assert_int_equal(line[MF_TRACE_LINE_BYTES - 1], '\n');
}

static void test_trace_line__has_the_columns_of_the_table(void **state)
{
    (void)state;
    char line[MF_TRACE_LINE_BYTES + 1];
    struct row row;
    struct mf_trace_sum sum = {.begun = 12, .good = 10, .bad = 1, .calls = 10, .total_ns = 123456};
    mf_trace_line_heads(line);
    assert_memory_equal(line,
                        "TIME                   NAME                                    "
                        "BEGIN          GOOD_END       BAD_END        ON_FLY         "
                        "MIN(us)        MAX(us)        AVG(us)        TOTAL(us)      \n",
                        MF_TRACE_LINE_BYTES + 1);
    mf_trace_line(line, "2026-01-02 03:04:05", "BM_COPY_PUT", &sum, 1, 1001, 99999);
    assert_int_equal(strlen(line), MF_TRACE_LINE_BYTES);
    parse(line, &row);
    assert_string_equal(row.time, "2026-01-02 03:04:05");
    assert_string_equal(row.name, "BM_COPY_PUT");
    const double wanted[] = {12, 10, 1, 1, 1.001, 99.999, 12.346, 123.456};
    for (int i = 0; i < 8; i++) {
        assert_number(row.value[i], wanted[i], 1e-9);
    }
}

static void test_trace_line__keeps_its_columns_whatever_the_values(void **state)
{
    (void)state;
    char line[MF_TRACE_LINE_BYTES + 1];
    struct row row;
    struct mf_trace_sum sum = {.begun = UINT64_MAX,
                               .good = UINT64_MAX,
                               .bad = 123456789012345,
                               .calls = 1,
                               .total_ns = UINT64_MAX};
    char name[64];
    memset(name, 'N', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    mf_trace_line(line, "2026-01-02 03:04:05 and more", name, &sum, UINT64_MAX, UINT64_MAX,
                  UINT64_MAX);
    assert_int_equal(strlen(line), MF_TRACE_LINE_BYTES);
    parse(line, &row);
    assert_int_equal(strlen(row.name), 40);
    assert_number(row.value[BEGIN] / (double)UINT64_MAX, 1, 1e-6);
    assert_number(row.value[BAD] / 123456789012345.0, 1, 1e-6);
    assert_number(row.value[TOTAL_US] * 1e3 / (double)UINT64_MAX, 1, 1e-6);
}

/* ---- the file ---- */

static uint64_t wall_ns(void)
{
    return 1767323045ull * MF_NS_PER_S;
}

static struct mf_trace_file *open_file(struct trace_rig *rig, uint64_t cap_bytes)
{
    struct mf_trace_file *file = NULL;
    struct mf_trace_file_cfg cfg = {
        .trace = rig->trace, .dir = folder, .cap_bytes = cap_bytes, .wall_ns = wall_ns};
    mf_assert_ok(mf_trace_file_open(&cfg, &file));
    return file;
}

static void file_path(char out[128])
{
    snprintf(out, 128, "%s/ptracer_%d.dat", folder, (int)getpid());
}

/* The whole file; `size` is its length. */
static char *read_file(size_t *size)
{
    char path[128];
    file_path(path);
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    char *text = calloc(1, 1 << 20);
    *size = fread(text, 1, (1 << 20) - 1, in);
    fclose(in);
    assert_int_equal(*size % MF_TRACE_LINE_BYTES, 0);
    return text;
}

/* Number of rows; `row` is the last one with the name. */
static int find_rows(const char *name, struct row *row)
{
    size_t size = 0;
    int count = 0;
    char *text = read_file(&size);
    for (size_t at = MF_TRACE_LINE_BYTES; at < size; at += MF_TRACE_LINE_BYTES) {
        struct row other;
        parse(text + at, &other);
        if (strcmp(other.name, name) == 0) {
            *row = other;
            count++;
        }
    }
    free(text);
    return count;
}

static void test_trace_file__has_the_points_of_each_period(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct mf_tracer shared = mf_tracer_shared(rig->trace);
    struct mf_trace_file *file = open_file(rig, 0);
    struct row row;
    rig_call(rig, &own, MF_POINT_COPY_PUT, 5000, SMEM_OK, 8);
    rig_call(rig, &shared, MF_POINT_COPY_PUT, 1000, SMEM_OK, 8);
    rig_call(rig, &own, MF_POINT_BM_JOIN, 7, SMEM_ERROR, 0);
    mf_assert_ok(mf_trace_file_write(file));
    assert_int_equal(find_rows("BM_COPY_PUT", &row), 1);
    const double first[] = {2, 2, 0, 0, 1, 5, 3, 6};
    assert_memory_equal(row.value, first, sizeof(first));
    assert_int_equal(find_rows("BM_JOIN", &row), 1);
    assert_number(row.value[BAD], 1, 0);

    struct mf_span span = mf_trace_begin(&own, MF_POINT_COPY_PUT);
    rig_call(rig, &own, MF_POINT_COPY_PUT, 2000, SMEM_OK, 8);
    mf_assert_ok(mf_trace_file_write(file));
    assert_int_equal(find_rows("BM_JOIN", &row), 1); /* none began */
    assert_int_equal(find_rows("BM_COPY_PUT", &row), 2);
    const double second[] = {2, 1, 0, 1, 2, 2, 2, 2}; /* 1 us and 5 us are of the first */
    assert_memory_equal(row.value, second, sizeof(second));
    mf_assert_ok(mf_trace_end(&span, SMEM_OK, 0));
    mf_assert_ok(mf_trace_file_write(file)); /* nothing began: nothing is written */
    assert_int_equal(find_rows("BM_COPY_PUT", &row), 2);
    mf_trace_file_close(file);
}

static void test_trace_file__modes_and_name(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_trace_file *file = NULL;
    struct stat st;
    char dir[64];
    char path[160];
    mode_t was = umask(022);
    snprintf(dir, sizeof(dir), "%s/a/b", folder);
    struct mf_trace_file_cfg cfg = {.trace = rig->trace, .dir = dir, .wall_ns = wall_ns};
    mf_assert_ok(mf_trace_file_open(&cfg, &file));
    umask(was);
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    snprintf(path, sizeof(path), "%s/ptracer_%d.dat", dir, (int)getpid());
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    mf_trace_file_close(file);
    unlink(path);
    rmdir(dir);
    *strrchr(dir, '/') = '\0';
    rmdir(dir);
}

static void test_trace_file__begins_again_at_its_cap(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct mf_trace_file *file = open_file(rig, 5 * MF_TRACE_LINE_BYTES);
    char heads[MF_TRACE_LINE_BYTES + 1];
    struct row row;
    mf_trace_line_heads(heads);
    for (int i = 1; i <= 10; i++) {
        size_t size = 0;
        for (int n = 0; n < i; n++) {
            rig_call(rig, &own, MF_POINT_COPY_GET, 10, SMEM_OK, 8);
        }
        mf_assert_ok(mf_trace_file_write(file));
        char *text = read_file(&size);
        assert_memory_equal(text, heads, MF_TRACE_LINE_BYTES);
        /* Four rows behind the heads, then over the oldest one. */
        parse(text + (size_t)(1 + (i - 1) % 4) * MF_TRACE_LINE_BYTES, &row);
        assert_number(row.value[BEGIN], i, 0);
        assert_int_equal(size, (size_t)(i < 5 ? i + 1 : 5) * MF_TRACE_LINE_BYTES);
        free(text);
    }
    mf_trace_file_close(file);
}

static void test_trace_file__goes_on_after_an_earlier_process(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct row row;
    for (int i = 1; i <= 3; i++) {
        struct mf_trace_file *file = open_file(rig, 0);
        rig_call(rig, &own, MF_POINT_BM_WAIT, 10, SMEM_OK, 0);
        mf_trace_file_close(file); /* without a thread the last period is the caller's to write */
        file = open_file(rig, 0);
        rig_call(rig, &own, MF_POINT_BM_WAIT, 10, SMEM_OK, 0);
        mf_assert_ok(mf_trace_file_write(file));
        mf_trace_file_close(file);
        assert_int_equal(find_rows("BM_WAIT", &row), i);
    }
}

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void test_trace_file__thread_writes_every_period_and_at_the_end(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_env real;
    struct mf_trace *trace = NULL;
    struct mf_trace_file *file = NULL;
    struct row row;
    mf_env_init_real(&real, &rig->log);
    mf_assert_ok(mf_trace_create(&real, &trace));
    struct mf_tracer own = mf_tracer_own(trace);
    struct mf_trace_file_cfg cfg = {
        .trace = trace, .dir = folder, .period_ms = 20, .wall_ns = wall_ns};
    mf_assert_ok(mf_trace_file_open(&cfg, &file));
    rig_call(rig, &own, MF_POINT_BM_JOIN, 0, SMEM_OK, 0);
    char path[128];
    file_path(path);
    struct stat st = {0};
    for (int i = 0; i < 500 && st.st_size == 0; i++) {
        sleep_ms(10);
        assert_int_equal(stat(path, &st), 0);
    }
    assert_int_equal(find_rows("BM_JOIN", &row), 1);
    rig_call(rig, &own, MF_POINT_BM_LEAVE, 0, SMEM_OK, 0);
    mf_trace_file_close(file);
    assert_int_equal(find_rows("BM_LEAVE", &row), 1);
    mf_trace_destroy(trace);
}

/* ---- what cannot be written ---- */

static void assert_refused(struct trace_rig *rig, const char *dir, const char *part)
{
    struct mf_trace_file *file = (struct mf_trace_file *)rig;
    struct mf_trace_file_cfg cfg = {.trace = rig->trace, .dir = dir, .wall_ns = wall_ns};
    mf_err_clear();
    mf_assert_rc(mf_trace_file_open(&cfg, &file), SMEM_ERROR);
    mf_assert_err_has(part);
    assert_null(file);
}

static void test_trace_file_open__refuses_what_it_cannot_write(void **state)
{
    struct trace_rig *rig = *state;
    char path[128];
    char long_name[5000];
    memset(long_name, 'd', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_refused(rig, "", "0 bytes");
    assert_refused(rig, long_name, "1..4095");
    assert_refused(rig, "/dev/null/sub", "make the directory /dev/null/sub");
    assert_refused(rig, "/dev/null", "open /dev/null/ptracer");
    assert_refused(rig, "/proc/self/fd/none", "MF_TRACE_DIR");
    file_path(path);
    assert_int_equal(symlink("/dev/null", path), 0);
    assert_refused(rig, folder, "open ");
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_refused(rig, folder, "open "); /* at once, although nobody reads it */
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_refused(rig, folder, "remove it");
    close(reader);
    unlink(path);
    char other[140];
    snprintf(other, sizeof(other), "%s.other", path);
    close(open(other, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(link(other, path), 0);
    assert_refused(rig, folder, "remove it");
    unlink(other);
}

static void test_trace_file__full_disk_is_told_once_and_tracing_goes_on(void **state)
{
    struct trace_rig *rig = *state;
    struct mf_tracer own = mf_tracer_own(rig->trace);
    struct mf_trace_file *file = open_file(rig, 0);
    struct rlimit was;
    struct row row;
    atomic_store(&rig->log.sink, count_warning);
    warnings = 0;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = was.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    int rc = SMEM_OK;
    for (int i = 0; i < 3; i++) {
        rig_call(rig, &own, MF_POINT_COPY_PUT, 10, SMEM_OK, 8);
        rc = mf_trace_file_write(file);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    mf_assert_rc(rc, SMEM_ERROR);
    mf_assert_err_has("ptracer_");
    assert_int_equal(warnings, 1);
    rig_call(rig, &own, MF_POINT_COPY_PUT, 10, SMEM_OK, 8);
    mf_assert_ok(mf_trace_file_write(file));
    assert_int_equal(find_rows("BM_COPY_PUT", &row), 1);
    assert_number(row.value[BEGIN], 1, 0); /* not those of the periods that are lost */
    assert_int_equal(rig_sum(rig, MF_POINT_COPY_PUT)->begun, 4);
    mf_trace_file_close(file);
    signal(SIGXFSZ, handler);
}

static int teardown(void **state)
{
    char path[128];
    file_path(path);
    unlink(path);
    return rig_teardown(state);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

#define WITH_RIG(test) cmocka_unit_test_setup_teardown(test, rig_setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_line__has_the_columns_of_the_table),
        cmocka_unit_test(test_trace_line__keeps_its_columns_whatever_the_values),
        WITH_RIG(test_trace_file__has_the_points_of_each_period),
        WITH_RIG(test_trace_file__modes_and_name),
        WITH_RIG(test_trace_file__begins_again_at_its_cap),
        WITH_RIG(test_trace_file__goes_on_after_an_earlier_process),
        WITH_RIG(test_trace_file__thread_writes_every_period_and_at_the_end),
        WITH_RIG(test_trace_file_open__refuses_what_it_cannot_write),
        WITH_RIG(test_trace_file__full_disk_is_told_once_and_tracing_goes_on),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
