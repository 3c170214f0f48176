// SPDX-License-Identifier: GPL-2.0
/*
 * Handshakes. The server has the last word: a client learns from it that its certificate
 * was taken, and nothing is on its way to either when the kernel goes on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include "ktls.h"
#include "secure_internal.h"

#define HANDSHAKE_BYTE	0x16	/* what each connection of TLS begins with */
#define WELCOME		"ftkvm\n"
#define PARTING_MS	1000	/* for the peer to read an alert */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct secure *current;
static unsigned int ciphers;	/* that the kernel has; 0: not known yet */

/* --- what is used ------------------------------------------------------------------ */

static void put(struct secure *s)
{
	unsigned int left = 1;

	pthread_mutex_lock(&lock);
	if (s)
		left = --s->users;
	pthread_mutex_unlock(&lock);
	if (!left)
		secure_free(s);
}

static struct secure *get(void)
{
	struct secure *s;

	pthread_mutex_lock(&lock);
	s = current;
	if (s)
		s->users++;
	pthread_mutex_unlock(&lock);
	return s;
}

void secure_use(struct secure *s)
{
	struct secure *last;

	pthread_mutex_lock(&lock);
	last = current;
	current = s;
	pthread_mutex_unlock(&lock);
	put(last);
}

static enum ftlink_security security(void)
{
	enum ftlink_security now;

	pthread_mutex_lock(&lock);
	now = current ? current->security : FTLINK_UNSET;
	pthread_mutex_unlock(&lock);
	return now;
}

const char *secure_words(void)
{
	switch (security()) {
	case FTLINK_TLS:
		return "TLS and certificates";
	case FTLINK_PSK:
		return "TLS and a key that both have";
	case FTLINK_PLAIN:
		return "plain TCP";
	default:
		return "nothing that is configured";
	}
}

/* 0 or -errno with a text. */
static int probe(unsigned int *mask, struct fterr *err)
{
	pthread_mutex_lock(&lock);
	*mask = ciphers;
	pthread_mutex_unlock(&lock);
	if (*mask)
		return 0;
	*mask = ktls_ciphers(err);
	pthread_mutex_lock(&lock);
	ciphers = *mask;
	pthread_mutex_unlock(&lock);
	return *mask ? 0 : err->code;
}

static int not_told(struct fterr *err)
{
	return ft_fail(err, -EPERM,
		       "ftd is not told how to secure connections to other hosts; let [link] in "
		       "ftd.conf of both say security = tls or psk (see ftd(8)), or security = plain "
		       "if a network of their own joins them, and reload ftd");
}

int secure_probe(struct fterr *err)
{
	unsigned int mask;

	switch (security()) {
	case FTLINK_PLAIN:
		return 0;
	case FTLINK_UNSET:
		return not_told(err);
	default:
		return probe(&mask, err);
	}
}

int secure_first(unsigned char byte, struct fterr *err)
{
	bool tls = byte == HANDSHAKE_BYTE;

	switch (security()) {
	case FTLINK_PLAIN:
		if (!tls)
			return 0;
		return ft_fail(err, -EPROTO,
			       "the ftd that was called has security = plain, who called uses TLS; "
			       "let [link] in ftd.conf of both hosts say the same security");
	case FTLINK_UNSET:
		return ft_fail(err, -EPERM,
			       "the ftd that was called is not told how to secure connections; let "
			       "[link] in its ftd.conf say the same security as that of who called, "
			       "and reload it");
	default:
		if (tls)
			return 1;
		return ft_fail(err, -EPROTO,
			       "the ftd that was called takes TLS only, and this was plain; let "
			       "[link] in ftd.conf of both hosts say the same security");
	}
}

/* --- a handshake ------------------------------------------------------------------- */

/* Who calls itself finds its own name, which no other can take out of the handshake. */
static const char *own_name(void)
{
	static char name[2 * 16 + sizeof(".ftkvm")];
	static bool made;
	unsigned char id[16];
	int i;

	pthread_mutex_lock(&lock);
	if (!made && !gnutls_rnd(GNUTLS_RND_RANDOM, id, sizeof(id))) {
		for (i = 0; i < 16; i++)
			sprintf(name + 2 * i, "%02x", id[i]);
		strcat(name, ".ftkvm");
		made = true;
	}
	pthread_mutex_unlock(&lock);
	return made ? name : NULL;
}

static bool called_itself(const struct handshake *h)
{
	const char *ours = own_name();
	unsigned int type, i;
	char name[128];
	size_t size;

	for (i = 0; size = sizeof(name), !gnutls_server_name_get(h->session, name, &size, &type, i); i++)
		if (ours && !strcmp(name, ours))
			return true;
	return false;
}

/*
 * Of the ciphers that the kernel has. ChaCha20-Poly1305 goes first, for a link may last
 * for years, and the kernel does not renew its keys: of AES-GCM, TLS wants that after
 * some 400 GB; of it, never.
 */
static int set_priority(struct handshake *h, unsigned int mask)
{
	char text[256] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:%PROFILE_MEDIUM:-CIPHER-ALL";
	int i;

	for (i = 0; i < KTLS_CIPHERS; i++) {
		if (!(mask & 1 << i))
			continue;
		strcat(text, ":+");
		strcat(text, ktls_name(i));
	}
	if (h->secure->security == FTLINK_PSK)
		strcat(text, ":-KX-ALL:+ECDHE-PSK:+DHE-PSK");
	return gnutls_priority_set_direct(h->session, text, NULL);
}

/* GnuTLS reads, never more than it needs. */
static ssize_t pull(gnutls_transport_ptr_t arg, void *data, size_t len)
{
	struct handshake *h = arg;
	char first;

	if (h->client && !h->heard && recv(h->fd, &first, 1, MSG_PEEK) == 1) {
		h->heard = true;
		h->plain = first == '{';
	}
	if (h->plain) {
		errno = EPROTO;
		return -1;
	}
	return recv(h->fd, data, len, 0);
}

static int begin(struct handshake *h, unsigned int mask)
{
	unsigned int flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_REKEY;
	const struct secure *s = h->secure;
	const char *name = own_name();
	int ret;

	ret = gnutls_init(&h->session, flags | (h->client ? GNUTLS_CLIENT : GNUTLS_SERVER));
	if (ret)
		return ret;
	gnutls_session_set_ptr(h->session, h);
	gnutls_transport_set_ptr2(h->session, h, (gnutls_transport_ptr_t)(intptr_t)h->fd);
	gnutls_transport_set_pull_function(h->session, pull);
	gnutls_handshake_set_timeout(h->session, GNUTLS_INDEFINITE_TIMEOUT);
	ret = set_priority(h, mask);
	if (!ret && s->security == FTLINK_TLS)
		ret = gnutls_credentials_set(h->session, GNUTLS_CRD_CERTIFICATE, s->certificate);
	else if (!ret)
		ret = gnutls_credentials_set(h->session, GNUTLS_CRD_PSK,
					     h->client ? (void *)s->psk_client : (void *)s->psk_server);
	if (!h->client && s->security == FTLINK_TLS) {
		gnutls_certificate_server_set_request(h->session, GNUTLS_CERT_REQUIRE);
		/* a client that sees that it has none for this CA would show none at all */
		gnutls_certificate_send_x509_rdn_sequence(h->session, 1);
	}
	if (!ret && h->client)
		ret = name ? gnutls_server_name_set(h->session, GNUTLS_NAME_DNS, name, strlen(name)) :
		      GNUTLS_E_RANDOM_FAILED;
	return ret;
}

/* A step could not end: wait until it may go on. 0: it may. */
static int wait_for(struct handshake *h, int ret)
{
	bool out = gnutls_record_get_direction(h->session);

	/* some alert that says nothing, or the like */
	if (ret != GNUTLS_E_AGAIN && ret != GNUTLS_E_INTERRUPTED)
		return ft_now_ms() < h->deadline ? 0 : GNUTLS_E_TIMEDOUT;
	switch (ft_poll(h->fd, out ? POLLOUT : POLLIN, h->deadline)) {
	case 0:
		return 0;
	case -ETIMEDOUT:
		return GNUTLS_E_TIMEDOUT;
	default:
		return GNUTLS_E_PULL_ERROR;
	}
}

/* An ftd that does not do TLS says so in a line of JSON. */
static void plain_answer(struct handshake *h, struct fterr *err)
{
	const char *text = NULL;
	json_t *answer = NULL;
	char line[1024];

	if (ft_read_line(h->fd, line, sizeof(line), h->deadline) >= 0)
		answer = json_loads(line, 0, NULL);
	if (!json_unpack(answer, "{s:s}", "error", &text))
		ft_fail(err, -ECONNREFUSED, "host %s refuses: %s", h->peer, text);
	else
		secure_why(h, GNUTLS_E_UNEXPECTED_PACKET, err);
	json_decref(answer);
}

/* 0 or GnuTLS's error. */
static int handshake(struct handshake *h)
{
	int ret;

	do {
		ret = gnutls_handshake(h->session);
		if (ret >= 0 || gnutls_error_is_fatal(ret))
			return ret;
		ret = wait_for(h, ret);
	} while (!ret);
	return ret;
}

/* The server's last word, and the first that is encrypted by what both agreed on. */
static int welcome(struct handshake *h)
{
	char said[sizeof(WELCOME)];
	int ret;

	for (;;) {
		if (h->client)
			ret = gnutls_record_recv(h->session, said, sizeof(said));
		else
			ret = gnutls_record_send(h->session, WELCOME, strlen(WELCOME));
		if (ret >= 0)
			break;
		if (gnutls_error_is_fatal(ret))
			return ret;
		ret = wait_for(h, ret);
		if (ret)
			return ret;
	}
	if (!ret)
		return GNUTLS_E_PREMATURE_TERMINATION;
	if (ret != (int)strlen(WELCOME) || (h->client && memcmp(said, WELCOME, ret)))
		return GNUTLS_E_UNEXPECTED_PACKET;
	return 0;
}

/*
 * Say why, so that it arrives: closed while there is something to read, a socket takes
 * back what it has sent.
 */
static void part(struct handshake *h, int ret)
{
	int64_t until = ft_now_ms() + PARTING_MS;
	char waste[4096];
	int i;

	if (ret == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return;
	gnutls_alert_send(h->session, GNUTLS_AL_FATAL, secure_alert(h, ret));
	shutdown(h->fd, SHUT_WR);
	for (i = 0; i < 16 && !ft_poll(h->fd, POLLIN, until); i++)
		if (recv(h->fd, waste, sizeof(waste), MSG_DONTWAIT) <= 0)
			break;
}

static void tell(const struct handshake *h)
{
	unsigned int n;
	const gnutls_datum_t *der = gnutls_certificate_get_peers(h->session, &n);
	gnutls_datum_t name = { };
	gnutls_x509_crt_t crt;

	if (der && n && !gnutls_x509_crt_init(&crt)) {
		if (!gnutls_x509_crt_import(crt, &der[0], GNUTLS_X509_FMT_DER))
			gnutls_x509_crt_get_dn3(crt, &name, 0);
		gnutls_x509_crt_deinit(crt);
	}
	ft_log(SD_INFO, "connection %s %s: TLS 1.3, %s, %s%s", h->client ? "to" : "from", h->peer,
	       gnutls_cipher_get_name(gnutls_cipher_get(h->session)),
	       name.data ? "certificate of " : "a key that both have", name.data ? (char *)name.data : "");
	gnutls_free(name.data);
}

static int work(struct handshake *h, unsigned int mask, struct fterr *err)
{
	int ret = begin(h, mask);

	if (!ret)
		ret = handshake(h);
	if (h->plain) {
		plain_answer(h, err);
		return err->code;
	}
	if (!ret && !h->client && called_itself(h)) {
		h->ourselves = true;
		ret = GNUTLS_E_UNEXPECTED_PACKET;
	}
	if (!ret)
		ret = welcome(h);
	if (!ret) {
		tell(h);
		return ktls_give(h->fd, h->session, err);
	}
	secure_why(h, ret, err);
	if (h->session)
		part(h, ret);
	return err->code;
}

static int secured(struct handshake *h, struct fterr *err)
{
	struct secure *s = get();
	int ret = 0, flags = fcntl(h->fd, F_GETFL);
	unsigned int mask;

	h->secure = s;
	h->deadline = ft_now_ms() + h->timeout_ms;
	if (!s || s->security == FTLINK_UNSET) {
		ret = not_told(err);
	} else if (s->security != FTLINK_PLAIN) {
		ret = probe(&mask, err);
		fcntl(h->fd, F_SETFL, flags | O_NONBLOCK);
		if (!ret)
			ret = work(h, mask, err);
		if (h->session)
			gnutls_deinit(h->session);
		fcntl(h->fd, F_SETFL, flags);
	}
	put(s);
	return ret;
}

int secure_connect(int fd, const char *host, int64_t timeout_ms, struct fterr *err)
{
	struct handshake h = { .fd = fd, .peer = host, .timeout_ms = timeout_ms, .client = true };

	return secured(&h, err);
}

int secure_accept(int fd, const char *from, int64_t timeout_ms, struct fterr *err)
{
	struct handshake h = { .fd = fd, .peer = from, .timeout_ms = timeout_ms };

	return secured(&h, err);
}
