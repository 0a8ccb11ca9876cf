// SPDX-License-Identifier: Apache-2.0
// Parts of mfcli logs: what counts as a secret, and the archive when its reader or its disk fails.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "logs/redact.h"
#include "logs/tar.h"
#include "mf_test.h"

struct variable {
    const char *name, *value;
    bool secret;
};

static void test_redact__takes_out_names_and_values(void **state)
{
    static const struct variable variables[] = {
        {"MF_FENCE_WAIT_MS", "5000", false},
        {"MF_CONFIG_STORE_URL", "tcp://127.0.0.1:5000", false},
        {"MF_CONFIG_STORE_URL", "tcp://[::1]:5000/a@b", false},
        {"MF_CONFIG_STORE_URL", "etcd://user:word@host:1", true},
        {"MF_STORE_PASS", "x", true},
        {"mf_store_token", "x", true},
        {"MF_TLS_CERT", "/etc/x", true},
        {"MF_X", "/etc/server.KEY", true},
        {"MF_X", "/etc/server.key.txt", false},
        {"MF_X", "-----BEGIN RSA PRIVATE KEY-----", true},
        {"MF_X", "a;Password=b", true},
        {"MF_X", "", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        if (redact_wanted(variables[i].name, variables[i].value) != variables[i].secret) {
            fail_msg("%s=%s", variables[i].name, variables[i].value);
        }
    }
    assert_true(redact_file("id_ed25519"));
    assert_true(redact_file("ca.pem"));
    assert_false(redact_file("id_rsa.log"));
    assert_false(redact_file("server.log"));
}

static FILE *file_of(const char *text)
{
    FILE *file = tmpfile();

    assert_non_null(file);
    fputs(text, file);
    rewind(file);
    return file;
}

static void test_tar_copy__fills_what_became_shorter(void **state)
{
    FILE *out = tmpfile(), *in = file_of("short");
    struct tar tar;
    char block[512];

    (void)state;
    assert_non_null(out);
    tar_init(&tar, fileno(out), 0);
    assert_int_equal(tar_copy(&tar, "name", fileno(in), 700, 0), 5);
    assert_int_equal(tar_end(&tar), 0);
    assert_int_equal(tar.bytes, 512 + 1024 + 1024);
    assert_int_equal(lseek(fileno(out), 0, SEEK_END), 512 + 1024 + 1024);
    assert_int_equal(pread(fileno(out), block, sizeof(block), 512), 512);
    assert_string_equal(block, "short");
    fclose(in);
    fclose(out);
}

static void test_tar__keeps_the_first_failure_and_writes_no_more(void **state)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct tar tar;

    (void)state;
    if (full < 0) {
        print_message("skipped: there is no /dev/full\n");
        skip();
    }
    tar_init(&tar, full, 0);
    tar_memory(&tar, "name", "data", 4);
    assert_int_equal(tar.error, ENOSPC);
    close(full);
    tar_memory(&tar, "name", "data", 4); /* a closed descriptor would be another error */
    assert_int_equal(tar_end(&tar), ENOSPC);
    assert_int_equal(tar.bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redact__takes_out_names_and_values),
        cmocka_unit_test(test_tar_copy__fills_what_became_shorter),
        cmocka_unit_test(test_tar__keeps_the_first_failure_and_writes_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
