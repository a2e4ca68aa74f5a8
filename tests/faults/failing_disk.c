/* Loaded before the C library (LD_PRELOAD): the k-th call that touches a file below a folder fails, as on a bad disk.
 *
 * arm(folder, k, error, lasting): the k-th call from now on, counted from 0, fails with `error`; with `lasting`, so do
 * all that come after it. disarm() ends this and says how many calls there were up to then.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char prefix[PATH_MAX];
static long first = -1, count = 0;
static int error_number = 0, lasting = 0, armed = 0;

void arm(const char *folder, long k, int error, int last)
{
    snprintf(prefix, sizeof prefix, "%s", folder);
    first = k, error_number = error, lasting = last, count = 0, armed = 1;
}

long disarm(void)
{
    armed = 0;
    return count;
}

static int fails(const char *path)
{
    if (!armed || strncmp(path, prefix, strlen(prefix)) != 0)
        return 0;
    long k = count++;
    if (k == first || (lasting && k > first)) {
        errno = error_number;
        return 1;
    }
    return 0;
}

static int fails_on(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (!armed)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return fails(path);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define ON_DESCRIPTOR(type, name, parameters, arguments) \
    type name parameters                                 \
    {                                                    \
        return fails_on(fd) ? -1 : REAL(name) arguments; \
    }

ON_DESCRIPTOR(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n))
ON_DESCRIPTOR(ssize_t, pwrite, (int fd, const void *data, size_t n, off_t at), (fd, data, n, at))
ON_DESCRIPTOR(ssize_t, pwrite64, (int fd, const void *data, size_t n, off64_t at), (fd, data, n, at))
ON_DESCRIPTOR(ssize_t, read, (int fd, void *data, size_t n), (fd, data, n))
ON_DESCRIPTOR(ssize_t, pread, (int fd, void *data, size_t n, off_t at), (fd, data, n, at))
ON_DESCRIPTOR(ssize_t, pread64, (int fd, void *data, size_t n, off64_t at), (fd, data, n, at))
ON_DESCRIPTOR(int, fsync, (int fd), (fd))
ON_DESCRIPTOR(int, fdatasync, (int fd), (fd))
ON_DESCRIPTOR(int, ftruncate, (int fd, off_t n), (fd, n))
ON_DESCRIPTOR(int, ftruncate64, (int fd, off64_t n), (fd, n))

int unlink(const char *path)
{
    return fails(path) ? -1 : REAL(unlink)(path);
}

#define OPENING(name)                                                            \
    int name(const char *path, int flags, ...)                                   \
    {                                                                            \
        va_list more;                                                            \
        va_start(more, flags);                                                   \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                            \
        return fails(path) ? -1 : REAL(name)(path, flags, mode);                 \
    }

OPENING(open)
OPENING(open64)
