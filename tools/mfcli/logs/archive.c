// SPDX-License-Identifier: Apache-2.0
// Writes to a file without a name (O_TMPFILE) and gives it its name at the end, by a link that
// fails when the name is taken. Where a filesystem has no such files, the name is taken at the
// beginning, and removed again after a failure.
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"

#define MODE 0600 /* a report is its maker's affair */

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), tail = strlen(end);

    return length > tail && strcmp(path + length - tail, end) == 0;
}

static bool is_compressed(const char *path)
{
    return ends_with(path, ".tar.gz") || ends_with(path, ".tgz");
}

bool archive_name_is_good(const char *path)
{
    return is_compressed(path) || ends_with(path, ".tar");
}

static int fail(struct archive *archive, const char *what, int error)
{
    snprintf(archive->error, sizeof(archive->error), "%s: %s: %s", archive->path, what,
             strerror(error));
    return -1;
}

static int open_file(struct archive *archive)
{
    struct stat there;
    char *copy = cli_text("%s", archive->path);
    const char *dir = dirname(copy);

    if (lstat(archive->path, &there) == 0) {
        free(copy);
        return fail(archive, "not overwritten", EEXIST);
    }
    archive->file = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, MODE);
    archive->anonymous = archive->file >= 0;
    if (archive->file < 0 && errno != ENOENT && errno != EACCES && errno != ENOSPC) {
        archive->file =
            open(archive->path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, MODE);
    }
    free(copy);
    return archive->file < 0 ? fail(archive, "cannot be made", errno) : 0;
}

/* Runs in the child. */
static void become_gzip(int from, int to)
{
    signal(SIGPIPE, SIG_DFL);
    dup2(from, STDIN_FILENO);
    dup2(to, STDOUT_FILENO);
    execlp("gzip", "gzip", "-c", (char *)NULL);
    _exit(127);
}

static int start_gzip(struct archive *archive)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC)) {
        return fail(archive, "pipe", errno);
    }
    archive->gzip = fork();
    if (archive->gzip == 0) {
        become_gzip(ends[0], archive->file);
    }
    close(ends[0]);
    if (archive->gzip < 0) {
        int error = errno;

        close(ends[1]);
        archive->gzip = 0;
        return fail(archive, "cannot start gzip", error);
    }
    archive->input = ends[1];
    return 0;
}

static void drop(struct archive *archive)
{
    if (!archive->anonymous) {
        unlink(archive->path);
    }
    close(archive->file);
    archive->file = -1;
}

int archive_open(struct archive *archive, const char *path)
{
    *archive = (struct archive){.path = path, .file = -1};
    if (open_file(archive)) {
        return -1;
    }
    archive->input = archive->file;
    if (is_compressed(path) && start_gzip(archive)) {
        drop(archive);
        return -1;
    }
    return 0;
}

static int end_gzip(struct archive *archive)
{
    int status = 0;

    close(archive->input);
    while (waitpid(archive->gzip, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        snprintf(archive->error, sizeof(archive->error),
                 "%s: there is no program gzip here: name a file that ends in .tar instead",
                 archive->path);
        return -1;
    }
    if (status) {
        snprintf(archive->error, sizeof(archive->error),
                 "%s: gzip could not write it (%s %d); is the disk full?", archive->path,
                 WIFSIGNALED(status) ? "signal" : "code",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        return -1;
    }
    return 0;
}

/* @return 0, or -1 with errno */
static int give_name(const struct archive *archive)
{
    char self[64];

    if (!archive->anonymous) {
        return 0;
    }
    snprintf(self, sizeof(self), "/proc/self/fd/%d", archive->file);
    return linkat(AT_FDCWD, self, AT_FDCWD, archive->path, AT_SYMLINK_FOLLOW);
}

int archive_close(struct archive *archive, int error)
{
    int rc = archive->gzip ? end_gzip(archive) : 0;

    if (rc == 0 && error) {
        rc = fail(archive, "cannot be written", error);
    }
    if (rc == 0 && fsync(archive->file) && errno != EINVAL) {
        rc = fail(archive, "cannot be written", errno);
    }
    if (rc == 0 && give_name(archive)) {
        rc = fail(archive, errno == EEXIST ? "not overwritten" : "cannot get its name", errno);
    }
    if (rc) {
        drop(archive);
        return -1;
    }
    close(archive->file);
    return 0;
}
