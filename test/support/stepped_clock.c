/*
 * stepped_clock.c
 *		A wall clock that a test sets while the server runs; to be preloaded
 *		(LD_PRELOAD) into the postmaster.
 *
 * What must never happen: that a process hangs in here.  PostgreSQL reads the
 * clock in signal handlers too, so nothing is opened or allocated when it is
 * read.  How far the clock is off, in microseconds, are the first eight bytes
 * of the file that STEPPED_CLOCK names.  It is mapped once, when a program
 * starts, so a step is seen by all processes of the server at once.
 *
 * Only the wall clock is set.  Intervals are measured by another one, which
 * nobody sets on a real machine either.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *step = NULL;

__attribute__((constructor))
static void
map_step(void)
{
	const char *name = getenv("STEPPED_CLOCK");
	int			file = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
	void	   *mapped;

	if (file < 0)
		return;
	mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
	if (mapped != MAP_FAILED)
		step = mapped;
	(void) close(file);
}

static int
stepped_time(struct timespec *now)
{
	int64_t		microseconds;
	int			result = (int) syscall(SYS_clock_gettime, CLOCK_REALTIME, now);

	if (result != 0 || step == NULL)
		return result;
	microseconds = *step + now->tv_nsec / 1000;
	now->tv_sec += microseconds / 1000000;
	microseconds %= 1000000;
	if (microseconds < 0)
	{
		now->tv_sec--;
		microseconds += 1000000;
	}
	now->tv_nsec = microseconds * 1000 + now->tv_nsec % 1000;
	return 0;
}

int
clock_gettime(clockid_t which, struct timespec *now)
{
	if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)
		return stepped_time(now);
	return (int) syscall(SYS_clock_gettime, which, now);
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	struct timespec precise;

	(void) zone;
	if (stepped_time(&precise) != 0)
		return -1;
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *into)
{
	struct timespec now;

	if (stepped_time(&now) != 0)
		return -1;
	if (into != NULL)
		*into = now.tv_sec;
	return now.tv_sec;
}
