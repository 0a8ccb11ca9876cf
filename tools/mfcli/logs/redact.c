// SPDX-License-Identifier: Apache-2.0
// Tells by words what may be a secret. It rather takes out too much: who reads a report can ask.
#include "redact.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char *const words[] = {"KEY",     "PASS", "PWD",  "SECRET", "TOKEN",
                                    "PRIVATE", "CRED", "CERT", "AUTH",   "COOKIE"};
static const char *const value_words[] = {"-----BEGIN",
                                          "password=", "passwd=", "token=", "secret="};
static const char *const endings[] = {".pem", ".key", ".p12", ".pfx", ".jks", ".crt", ".keytab"};
static const char *const key_files[] = {"id_rsa",     "id_dsa", "id_ecdsa",
                                        "id_ed25519", ".netrc", ".pgpass"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool has_ending(const char *text)
{
    size_t length = strlen(text);

    for (size_t i = 0; i < COUNT(endings); i++) {
        size_t end = strlen(endings[i]);

        if (length >= end && strcasecmp(text + length - end, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* scheme://user:password@host */
static bool has_user(const char *text)
{
    const char *host = strstr(text, "://");
    const char *at = host ? strchr(host, '@') : NULL;

    return at && at < host + 3 + strcspn(host + 3, "/");
}

bool redact_wanted(const char *name, const char *value)
{
    for (size_t i = 0; i < COUNT(words); i++) {
        if (strcasestr(name, words[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < COUNT(value_words); i++) {
        if (strcasestr(value, value_words[i])) {
            return true;
        }
    }
    return has_ending(value) || has_user(value);
}

bool redact_file(const char *name)
{
    for (size_t i = 0; i < COUNT(key_files); i++) {
        if (strcmp(name, key_files[i]) == 0) {
            return true;
        }
    }
    return has_ending(name);
}
