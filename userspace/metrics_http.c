// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "failover.h"
#include "metrics.h"
#include "metrics_http.h"

#define UNIX		"unix:"
#define CONNECTIONS	16
#define IDLE_S		10	/* a connection that says nothing */
#define MAIN_LOOP_MS	1000	/* a main loop that does not answer is told without */

static struct MHD_Daemon *server;
static char unix_path[108];

/* --- what the main loop knows ---------------------------------------------------- */

/* The server's thread asks by @kick, and waits until @served is what it @wanted. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t answered;
static unsigned long wanted, served;
static bool closing;
static struct ftmetrics shared;		/* of @served */
static int kick = -1;
static sd_event_source *kick_source;

static void fill(struct ftmetrics *m)
{
	struct guest *g;
	size_t n = 0;

	free(m->sessions);
	free(m->stills);
	memset(m, 0, sizeof(*m));
	for (g = ftd_guests; g; g = g->next)
		n++;
	m->sessions = calloc(n + 1, sizeof(*m->sessions));
	m->stills = calloc(n + 1, sizeof(*m->stills));
	if (!m->sessions || !m->stills)
		return;
	for (g = ftd_guests; g; g = g->next) {
		if (!g->still_known || g->gone || g->ended)
			continue;
		strcpy(m->stills[m->n_stills].guest, g->name);
		m->stills[m->n_stills++].still = *g->still;
	}
	for (g = ftd_guests; g; g = g->next) {
		if (!*g->session || g->gone)
			continue;
		strcpy(m->sessions[m->n_sessions].guest, g->name);
		m->sessions[m->n_sessions++].heard = g->heard.what;
	}
	m->decides = failover_decides();
	snprintf(m->arbiter, sizeof(m->arbiter), "%s", failover_type());
	m->ftd = true;
}

static int on_kick(sd_event_source *s, int fd, uint32_t revents, void *arg)
{
	eventfd_t ignored;

	(void)s;
	(void)revents;
	(void)arg;
	eventfd_read(fd, &ignored);
	pthread_mutex_lock(&lock);
	fill(&shared);
	served = wanted;
	pthread_cond_broadcast(&answered);
	pthread_mutex_unlock(&lock);
	return 0;
}

/* The server's thread: leave @m without if there is no answer. */
static void ask_main_loop(struct ftmetrics *m)
{
	struct timespec until;
	unsigned long mine;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += MAIN_LOOP_MS / 1000;
	pthread_mutex_lock(&lock);
	mine = ++wanted;
	eventfd_write(kick, 1);
	while (served < mine && !closing && !ret)
		ret = pthread_cond_timedwait(&answered, &lock, &until);
	if (served >= mine) {
		*m = shared;
		/* the list is handed over */
		memset(&shared, 0, sizeof(shared));
	}
	pthread_mutex_unlock(&lock);
}

/* --- HTTP -------------------------------------------------------------------------- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned int status, char *text, size_t size,
			      enum MHD_ResponseMemoryMode mode, const char *type)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(size, text, mode);
	enum MHD_Result ret;

	if (!r) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	ret = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return ret;
}

static enum MHD_Result say(struct MHD_Connection *c, unsigned int status, const char *text)
{
	return answer(c, status, (char *)text, strlen(text), MHD_RESPMEM_PERSISTENT,
		      "text/plain; charset=utf-8");
}

static enum MHD_Result metrics(struct MHD_Connection *c)
{
	struct ftmetrics m = { 0 };
	struct fterr ignored;
	char *text = NULL;
	size_t size;
	FILE *to;

	ask_main_loop(&m);
	m.module = !ftnl_dump(&m.list, &m.n, &ignored);
	if (!m.module)
		m.n = 0;
	to = open_memstream(&text, &size);
	if (to) {
		ftmetrics_print(&m, to);
		if (fclose(to)) {
			free(text);
			text = NULL;
		}
	}
	free(m.list);
	free(m.sessions);
	free(m.stills);
	if (!text)
		return say(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n");
	return answer(c, MHD_HTTP_OK, text, size, MHD_RESPMEM_MUST_FREE,
		      "text/plain; version=0.0.4; charset=utf-8");
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *c, const char *url, const char *method,
				  const char *version, const char *body, size_t *size, void **state)
{
	static int seen;

	(void)arg;
	(void)version;
	(void)body;
	/* the first call has the head only; what is sent with a request is not read by anybody */
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) && strcmp(method, MHD_HTTP_METHOD_HEAD))
		return say(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
	if (strcmp(url, "/metrics"))
		return say(c, MHD_HTTP_NOT_FOUND, "ftd's metrics are at /metrics\n");
	return metrics(c);
}

/* --- where -------------------------------------------------------------------------- */

static int listen_tcp(const char *where, struct fterr *err)
{
	char host[256], port[8];
	struct fterr cause;
	int fd;

	if (ft_split_host(where, host, sizeof(host), port, sizeof(port), ""))
		return ft_fail(err, -EINVAL, "\"%.100s\" is no ADDR:PORT to serve metrics at", where);
	fd = ft_tcp_listen(host, port, CONNECTIONS, &cause);
	return fd >= 0 ? fd : ft_fail(err, fd, "cannot serve metrics at %s: %s; correct [metrics] listen in the "
				      "configuration, or end what listens there", where, cause.text);
}

int metrics_listen(const char *where, struct fterr *err)
{
	bool local = !strncmp(where, UNIX, strlen(UNIX));
	pthread_condattr_t attr;
	int fd, ret;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&answered, &attr);
	pthread_condattr_destroy(&attr);
	kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kick < 0)
		return ft_fail(err, -errno, "cannot serve metrics: %s", strerror(errno));
	ret = sd_event_add_io(ftd_loop, &kick_source, kick, EPOLLIN, on_kick, NULL);
	if (ret < 0)
		return ft_fail(err, ret, "cannot serve metrics: %s", strerror(-ret));
	fd = local ? ft_unix_listen(where + strlen(UNIX), CONNECTIONS, err) : listen_tcp(where, err);
	if (fd < 0)
		return fd;
	if (local)
		snprintf(unix_path, sizeof(unix_path), "%s", where + strlen(UNIX));
	server = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL,
				  MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
				  MHD_OPTION_CONNECTION_TIMEOUT, IDLE_S, MHD_OPTION_END);
	if (server)
		return 0;
	close(fd);
	return ft_fail(err, -EIO, "cannot serve metrics at %s: no thread or no memory for it", where);
}

void metrics_close(void)
{
	if (!server)
		return;
	pthread_mutex_lock(&lock);
	closing = true;
	pthread_cond_broadcast(&answered);
	pthread_mutex_unlock(&lock);
	/* waits for the thread, and closes its socket */
	MHD_stop_daemon(server);
	server = NULL;
	kick_source = sd_event_source_disable_unref(kick_source);
	close(kick);
	free(shared.sessions);
	free(shared.stills);
	if (*unix_path)
		unlink(unix_path);
}
