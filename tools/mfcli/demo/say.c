// SPDX-License-Identifier: Apache-2.0
// What the demo prints: text wrapped to a terminal's width, or JSON.
#include "say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay/pause.h"

#define WIDTH      78
#define INDENT     4
#define LINE_BYTES 2048u

static void paint(const struct say *say, const char *code)
{
    if (say->colour) {
        fputs(code, stdout);
    }
}

void say_init(struct say *say, bool json, bool pause)
{
    const char *terminal = getenv("TERM");

    memset(say, 0, sizeof(*say));
    say->json = json;
    say->pause = pause;
    say->colour = !json && isatty(STDOUT_FILENO) && !getenv("NO_COLOR") && terminal &&
                  strcmp(terminal, "dumb") != 0;
}

void say_step(struct say *say, const char *name, const char *title)
{
    say->step++;
    say->step_checks = say->step_wrong = 0;
    say->step_start_ns = now_ns();
    if (say->json) {
        out_json_open(&say->object, stdout);
        out_json_u64(&say->object, "step", say->step);
        out_json_text(&say->object, "name", name);
        out_json_text(&say->object, "title", title);
        return;
    }
    paint(say, "\033[1m");
    printf("%2u  %s", say->step, title);
    paint(say, "\033[0m");
    printf("\n\n");
}

/* Waits for the Enter key; the end of the input is as good. */
static void wait_for_key(void)
{
    int c = 0;

    printf("    -- Enter goes on --");
    fflush(stdout);
    do {
        c = getchar();
    } while (c != '\n' && c != EOF);
}

void say_end(struct say *say)
{
    if (say->json) {
        out_json_u64(&say->object, "checks", say->step_checks);
        out_json_u64(&say->object, "wrong", say->step_wrong);
        out_json_real(&say->object, "seconds", (double)(now_ns() - say->step_start_ns) / 1e9, 6);
        out_json_close(&say->object);
        return;
    }
    printf("\n");
    if (say->pause) {
        wait_for_key();
        printf("\n");
    }
    fflush(stdout);
}

/* Words of `text` on lines that begin with `first`, painted, and then with spaces. */
static void wrap(const struct say *say, const char *text, const char *first, const char *code)
{
    size_t indent = strlen(first), column = indent;

    paint(say, code);
    fputs(first, stdout);
    paint(say, code[0] ? "\033[0m" : "");
    while (*text) {
        size_t length = strcspn(text, " \n");

        if (length && column > indent && column + 1 + length > WIDTH) {
            printf("\n%*s", (int)indent, "");
            column = indent;
        }
        if (length) {
            printf("%s%.*s", column > indent ? " " : "", (int)length, text);
            column += length + (column > indent ? 1 : 0);
        }
        text += length;
        text += *text ? 1 : 0;
    }
    fputc('\n', stdout);
}

void say_text(struct say *say, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;

    if (say->json) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    wrap(say, text, "    ", "");
}

void say_line(struct say *say, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;

    if (say->json) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (text[0]) {
        printf("%*s%.*s", INDENT + 4, "", WIDTH - INDENT - 4, text);
    }
    fputc('\n', stdout);
}

void say_sentence(struct say *say, const char *text)
{
    if (!say->json) {
        wrap(say, text, "      > ", "");
    }
}

bool say_check(struct say *say, bool good, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;

    say->checks++;
    say->step_checks++;
    say->wrong += !good;
    say->step_wrong += !good;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (say->json) {
        if (!good && say->step_wrong == 1) {
            out_json_text(&say->object, "error", text);
        }
        return good;
    }
    wrap(say, text, good ? "    [ok] " : "    [WRONG] ", good ? "\033[32m" : "\033[1;31m");
    return good;
}

void say_u64(struct say *say, const char *key, uint64_t value)
{
    if (say->json) {
        out_json_u64(&say->object, key, value);
    }
}

void say_value(struct say *say, const char *key, const char *value)
{
    if (say->json) {
        out_json_text(&say->object, key, value);
    }
}
