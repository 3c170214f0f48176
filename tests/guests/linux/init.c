// SPDX-License-Identifier: GPL-2.0
/*
 * The only process of the Linux test guest. It works and says so, several
 * times a second, in lines from which an onlooker can tell that the guest is
 * one machine that ran without a gap:
 *
 *	ftdemo 000042 up=12.345 wall=1767225612.345 sha=0123456789abcdef
 *		rnd=89abcdef loc=1234 chk=01234567		(one line)
 *
 *	number	counts up by one
 *	up	CLOCK_BOOTTIME, wall CLOCK_REALTIME: never step back
 *	sha	head of a running hash: H(n) is SHA-256 applied `work` times to
 *		H(n-1) followed by n as 8 bytes, little endian; H(0) is zeros.
 *		Anyone can compute what it must be.
 *	rnd	from getrandom(): no one can know it; the replicas must agree
 *	loc	timer interrupts so far (/proc/interrupts): never counts back
 *	chk	CRC-32 of the line up to here, begun with the chk of the line
 *		before: it ties every line to all that was said earlier
 *
 * Other lines are chained by chk in the same way:
 *
 *	ftstart work=N interval=MS chk=...
 *	ftanswer 0001 REVERSED chk=...	for each line typed at the console
 *	ftdmesg boot TEXT chk=...	a kernel warning from before this program
 *	ftdmesg warn TEXT chk=...	one since then: there should be none
 *	ftdmesg clean boot=N chk=...	every ten lines, while there is none
 *	ftend 000042 chk=...		the last
 *	ftfail TEXT chk=...		it can't go on
 *
 * Kernel command line: ftdemo.lines=N ends the guest after N lines (by
 * isa-debug-exit; if not given, once "end" is typed), ftdemo.interval=MS (200),
 * ftdemo.work=N (500). ftdemo.disk=1, ftdemo.net=ADDRESS/BITS and ftdemo.run=NAMES: see
 * devices.c.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "devices.h"
#include "sha256.h"

#define EXIT_PORT	0xf4
#define DMESG_EVERY	10

static uint32_t chain;
static int kmsg = -1;
static unsigned int boot_warnings, warnings;
static bool end_wanted;

/* One line, in one write(): nothing can come between its parts. */
static void say(const char *format, ...)
{
	char line[512];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line, sizeof(line) - 32, format, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 33)
		n = sizeof(line) - 33;
	chain = crc32(chain, line, n);
	n += sprintf(line + n, " chk=%08x\n", chain);
	for (char *p = line; n > 0; ) {
		ssize_t done = write(1, p, n);

		if (done <= 0)
			continue;
		p += done;
		n -= done;
	}
}

/* By way of the kernel: TCG's check of the I/O bitmap fails in nested guests. */
static void __attribute__((noreturn)) end(void)
{
	int port = open("/dev/port", O_WRONLY);

	tcdrain(1);
	if (pwrite(port, "", 1, EXIT_PORT) != 1)
		reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

void fail(const char *format, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	say("ftfail %s", text);
	end();
}

/* The value of an option that is text, or NULL. */
static const char *option_text(const char *cmdline, const char *name, char *buf, size_t size)
{
	const char *p = strstr(cmdline, name);
	size_t n;

	if (!p || p[strlen(name)] != '=')
		return NULL;
	p += strlen(name) + 1;
	n = strcspn(p, " \n");
	if (n >= size)
		fail("%s is too long", name);
	memcpy(buf, p, n);
	buf[n] = 0;
	return buf;
}

static unsigned long option(const char *cmdline, const char *name, unsigned long otherwise)
{
	const char *p = strstr(cmdline, name);

	return p && p[strlen(name)] == '=' ? strtoul(p + strlen(name) + 1, NULL, 10) : otherwise;
}

static void slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n, have = 0;

	while (fd >= 0 && (n = read(fd, buf + have, size - 1 - have)) > 0)
		have += n;
	buf[have] = 0;
	if (fd >= 0)
		close(fd);
}

/* Count of local timer interrupts: the line "LOC:  NUMBER ...". */
static unsigned long timer_interrupts(void)
{
	static char buf[16384];
	char *p;

	slurp("/proc/interrupts", buf, sizeof(buf));
	p = strstr(buf, "LOC:");
	return p ? strtoul(p + 4, NULL, 10) : 0;
}

/* New kernel messages; those of level warning or worse are shown. */
static void read_kmsg(const char *kind, unsigned int *count)
{
	char record[8192];
	ssize_t n;

	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0) {
		unsigned int level;
		char *text, *stop;

		record[n] = 0;
		level = strtoul(record, NULL, 10) & 7;
		text = strchr(record, ';');
		if (level > 4 || !text)
			continue;
		stop = strchr(++text, '\n');
		if (stop)
			*stop = 0;
		++*count;
		say("ftdmesg %s %.200s", kind, text);
	}
}

static void answer(char *text)
{
	static unsigned int answers;
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (!isprint((unsigned char)text[i]))
			text[i] = '?';
	for (size_t i = 0; i < len / 2; i++) {
		char c = text[i];

		text[i] = text[len - 1 - i];
		text[len - 1 - i] = c;
	}
	say("ftanswer %04u %.300s", ++answers, text);
}

/* Answer what is typed until the time comes; if it has come already, one of them. */
static void listen_until(const struct timespec *then)
{
	for (bool late = false; !late;) {
		struct timespec now, left;
		char line[512];
		ssize_t n;
		int what;

		clock_gettime(CLOCK_MONOTONIC, &now);
		left.tv_sec = then->tv_sec - now.tv_sec;
		left.tv_nsec = then->tv_nsec - now.tv_nsec;
		if (left.tv_nsec < 0) {
			left.tv_sec--;
			left.tv_nsec += 1000000000;
		}
		late = left.tv_sec < 0;
		if (late)
			left = (struct timespec){ 0 };
		what = devices_wait(&left);
		if (what <= 0)
			return;
		if (what == 2)
			continue;
		n = read(0, line, sizeof(line) - 1);
		if (n <= 0)
			return;
		line[n] = 0;
		line[strcspn(line, "\r\n")] = 0;
		end_wanted |= !strcmp(line, "end");
		answer(line);
	}
}

static void demo_line(unsigned long number, uint8_t hash[32], unsigned long work)
{
	struct timespec up, wall;
	char sha[17];
	uint8_t in[40];
	uint32_t random;

	memcpy(in, hash, 32);
	for (int i = 0; i < 8; i++)
		in[32 + i] = (uint64_t)number >> (8 * i);
	sha256(in, sizeof(in), hash);
	for (unsigned long i = 1; i < work; i++)
		sha256(hash, 32, hash);

	for (int i = 0; i < 8; i++)
		sprintf(sha + 2 * i, "%02x", hash[i]);
	devices_line(number, sha);
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		random = 0;
	clock_gettime(CLOCK_BOOTTIME, &up);
	clock_gettime(CLOCK_REALTIME, &wall);
	say("ftdemo %06lu up=%ld.%03ld wall=%ld.%03ld "
	    "sha=%s rnd=%08x loc=%lu",
	    number, up.tv_sec, up.tv_nsec / 1000000, wall.tv_sec, wall.tv_nsec / 1000000,
	    sha, random, timer_interrupts());
}

static void prepare(void)
{
	struct termios t;

	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	open("/dev/console", O_RDWR);
	dup(0);
	dup(0);
	if (!tcgetattr(0, &t)) {
		t.c_lflag &= ~(ECHO | ECHOE | ECHOK | ECHONL | ISIG);
		t.c_lflag |= ICANON;
		tcsetattr(0, TCSANOW, &t);
	}
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
}

int main(void)
{
	static char cmdline[4096];
	char disk[8], address[32], programs[64];
	uint8_t hash[32] = { 0 };
	unsigned long lines, interval, work, n;
	struct timespec next, now;

	prepare();
	slurp("/proc/cmdline", cmdline, sizeof(cmdline));
	lines = option(cmdline, "ftdemo.lines", 0);
	interval = option(cmdline, "ftdemo.interval", 200);
	work = option(cmdline, "ftdemo.work", 500);
	if (!work)
		work = 1;

	say("ftstart work=%lu interval=%lu", work, interval);
	devices_begin(option_text(cmdline, "ftdemo.disk", disk, sizeof(disk)),
		      option_text(cmdline, "ftdemo.net", address, sizeof(address)),
		      option_text(cmdline, "ftdemo.run", programs, sizeof(programs)));
	read_kmsg("boot", &boot_warnings);
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (n = 1; lines ? n <= lines : !end_wanted; n++) {
		demo_line(n, hash, work);
		read_kmsg("warn", &warnings);
		if (n % DMESG_EVERY == 0 && !warnings)
			say("ftdmesg clean boot=%u", boot_warnings);
		next.tv_nsec += interval * 1000000;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		listen_until(&next);
		/* No catching up: a pause (of a takeover, say) is not made up for. */
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > next.tv_sec ||
		    (now.tv_sec == next.tv_sec && now.tv_nsec > next.tv_nsec))
			next = now;
	}
	devices_end();
	say("ftend %06lu", n - 1);
	end();
}
