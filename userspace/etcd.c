// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <curl/curl.h>
#include "etcd.h"

#define ANSWER_MAX	(1 << 20)
#define TOKEN_MAX	2048	/* one of JWT may be long */

/* What etcd's answers have in "code": gRPC's. */
enum {
	CODE_INVALID_ARGUMENT = 3, CODE_NOT_FOUND = 5, CODE_PERMISSION_DENIED = 7,
	CODE_RESOURCE_EXHAUSTED = 8, CODE_FAILED_PRECONDITION = 9, CODE_UNAUTHENTICATED = 16,
};

/**
 * struct etcd - a cluster
 * @endpoints: where it is
 * @n: how many of them
 * @good: which answered last
 * @ca, @cert, @key, @user, @password_file: as in the configuration, or NULL
 * @lock: of @token
 * @token: what shows that we are @user; empty: has to be asked for
 */
struct etcd {
	char **endpoints;
	size_t n;
	atomic_size_t good;
	char *ca, *cert, *key, *user, *password_file;
	pthread_mutex_t lock;
	char token[TOKEN_MAX];
};

/* What an endpoint said. */
struct said {
	long status;
	char *text;
	size_t len;
	bool too_long;
	json_t *json;
};

/* --- bytes ----------------------------------------------------------------- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *etcd_bytes(const char *text)
{
	size_t len = strlen(text), i, at = 0;
	const unsigned char *in = (const unsigned char *)text;
	char *out = malloc(len / 3 * 4 + 5);
	json_t *bytes;

	if (!out)
		return NULL;
	for (i = 0; i < len; i += 3) {
		/* Behind the text there is its NUL, and that is not looked behind. */
		unsigned int v = in[i] << 16 | in[i + 1] << 8 | (i + 1 < len ? in[i + 2] : 0);

		out[at++] = digits[v >> 18];
		out[at++] = digits[v >> 12 & 63];
		out[at++] = i + 1 < len ? digits[v >> 6 & 63] : '=';
		out[at++] = i + 2 < len ? digits[v & 63] : '=';
	}
	out[at] = '\0';
	bytes = json_string(out);
	free(out);
	return bytes;
}

bool etcd_text(const json_t *bytes, char *text, size_t size)
{
	const char *in = json_string_value(bytes), *digit;
	unsigned int v = 0, bits = 0;
	size_t at = 0;

	*text = '\0';
	if (!in)
		return false;
	for (; *in && *in != '='; in++) {
		digit = strchr(digits, *in);
		if (!digit)
			return false;
		v = v << 6 | (digit - digits);
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (at + 1 < size)
			text[at++] = v >> bits & 255;
	}
	text[at] = '\0';
	return true;
}

/* --- one endpoint ---------------------------------------------------------- */

static size_t on_data(char *data, size_t one, size_t len, void *arg)
{
	struct said *said = arg;
	char *text;

	(void)one;
	if (said->len + len > ANSWER_MAX) {
		said->too_long = true;
		return 0;
	}
	text = realloc(said->text, said->len + len + 1);
	if (!text)
		return 0;
	memcpy(text + said->len, data, len);
	said->text = text;
	said->len += len;
	return len;
}

static void forget(struct said *said)
{
	free(said->text);
	json_decref(said->json);
	memset(said, 0, sizeof(*said));
}

/* Why there is no answer, and what is to be done. */
static int explain_curl(const struct etcd *e, const char *endpoint, CURLcode code, const char *text,
			struct fterr *err)
{
	const char *remedy = "see that etcd runs there, and that nothing is in the way";
	bool tls = !strncmp(endpoint, "https:", 6);
	int ret = -EIO;

	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		remedy = "correct endpoints in [arbiter], or the name service";
		ret = -EHOSTUNREACH;
		break;
	case CURLE_COULDNT_CONNECT:
		ret = -ECONNREFUSED;
		break;
	case CURLE_OPERATION_TIMEDOUT:
		remedy = "see that etcd is not overloaded, and the network whole; or have a longer timeout-ms";
		ret = -ETIMEDOUT;
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		remedy = "set ca in [arbiter]";
		if (e->ca)
			remedy = "let ca be who signed etcd's certificate, and endpoints have the name that is in it";
		ret = -EACCES;
		break;
	case CURLE_SSL_CERTPROBLEM:
		remedy = "let cert and key belong together, in PEM";
		ret = -EACCES;
		break;
	case CURLE_SSL_CONNECT_ERROR:
		/* GnuTLS' words for CURLE_SSL_CERTPROBLEM */
		if (strstr(text, "X.509 key")) {
			remedy = "let cert and key belong together, in PEM";
			ret = -EACCES;
			break;
		}
		__attribute__((fallthrough));
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_GOT_NOTHING:
		if (!tls)
			remedy = "see that etcd runs there; if it speaks TLS, say https:// in endpoints";
		else if (!e->cert)
			remedy = "see that etcd speaks TLS there; if it asks for a certificate, set cert and key";
		else
			remedy = "see that etcd speaks TLS there, and trusts who signed cert";
		break;
	default:
		break;
	}
	return ft_fail(err, ret, "%s: %s; %s", endpoint, *text ? text : curl_easy_strerror(code), remedy);
}

static int explain_nonsense(const char *endpoint, const struct said *said, struct fterr *err)
{
	char text[60];
	size_t i;

	/* That can be anything. */
	for (i = 0; i < said->len && i + 1 < sizeof(text); i++)
		text[i] = said->text[i] >= ' ' && said->text[i] <= '~' ? said->text[i] : '.';
	text[i] = '\0';
	return ft_fail(err, -EPROTO, "%s: \"%s\" (status %ld) is not said by etcd 3.4 or newer; correct endpoints",
		       endpoint, text, said->status);
}

static struct curl_slist *headers_for(const char *token)
{
	struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json"), *more;
	char line[TOKEN_MAX + 32];

	if (!list || !*token)
		return list;
	snprintf(line, sizeof(line), "Authorization: %s", token);
	more = curl_slist_append(list, line);
	if (!more)
		curl_slist_free_all(list);
	return more;
}

/* 0: it said something, in JSON. */
static int post(struct etcd_talk *t, const char *endpoint, const char *path, const char *text, const char *token,
		int64_t until, struct said *said, struct fterr *err)
{
	char url[1024], why[CURL_ERROR_SIZE] = "";
	const struct etcd *e = t->etcd;
	struct curl_slist *headers = headers_for(token);
	int64_t left = until - ft_now_ms();
	CURL *curl = t->curl;
	CURLcode code;

	forget(said);
	if (!headers)
		return ft_fail(err, -ENOMEM, "no memory to ask etcd");
	snprintf(url, sizeof(url), "%s%s", endpoint, path);
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	/* ftd's environment has no say in where it is asked. */
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, said);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, left < 1 ? 1L : (long)left);
	/* No signals in threads; and a name service that hangs is not waited for. */
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
	if (e->ca)
		curl_easy_setopt(curl, CURLOPT_CAINFO, e->ca);
	if (e->cert) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, e->cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, e->key);
	}
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &said->status);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	if (code != CURLE_OK && !said->too_long)
		return explain_curl(e, endpoint, code, why, err);
	said->json = said->too_long || !said->text ? NULL : json_loadb(said->text, said->len, 0, NULL);
	if (!json_is_object(said->json))
		return explain_nonsense(endpoint, said, err);
	return 0;
}

static int code_of(const struct said *said)
{
	return json_integer_value(json_object_get(said->json, "code"));
}

static const char *words_of(const struct said *said)
{
	const char *text = json_string_value(json_object_get(said->json, "message"));

	return text ? text : "an error that it has no words for";
}

/* Our token is not worth anything, any more. */
static bool token_is_old(const struct said *said)
{
	return code_of(said) == CODE_UNAUTHENTICATED ||
	       (code_of(said) == CODE_INVALID_ARGUMENT && strstr(words_of(said), "revision of auth store is old"));
}

/* @final: no other endpoint will say something else. */
static int explain_said(const struct etcd *e, const char *endpoint, const struct said *said, bool *final,
			struct fterr *err)
{
	const char *words = words_of(said), *remedy = "see etcd's log";
	int ret = -EIO;

	*final = true;
	switch (code_of(said)) {
	case CODE_NOT_FOUND:
		/* Not: a path that is none, for what is no etcd. */
		if (strstr(words, "lease not found"))
			return ft_fail(err, -ENOENT, "%s: %s; make a new pairing: ftctl unprotect, then ftctl protect",
				       endpoint, words);
		remedy = "see that etcd 3.4 or newer is there";
		break;
	case CODE_RESOURCE_EXHAUSTED:
		remedy = "make room in etcd: etcdctl compact, defrag, and alarm disarm";
		break;
	case CODE_PERMISSION_DENIED:
		remedy = "give that user's role: etcdctl role grant-permission ROLE readwrite ftkvm/ --prefix";
		ret = -EACCES;
		break;
	case CODE_UNAUTHENTICATED:
		remedy = "set user and password-file in [arbiter]";
		ret = -EACCES;
		break;
	case CODE_FAILED_PRECONDITION:
		if (!strstr(words, "authentication is not enabled"))
			break;
		remedy = "leave out user and password-file, or: etcdctl auth enable";
		ret = -EACCES;
		break;
	case CODE_INVALID_ARGUMENT:
		ret = -EACCES;
		if (strstr(words, "user name is empty"))
			remedy = "set user and password-file in [arbiter]";
		else if (strstr(words, "authentication failed"))
			remedy = "correct user, or what is in password-file";
		else
			ret = -EIO;
		break;
	default:
		*final = false;
		remedy = "see that most of etcd's members run and reach each other";
	}
	return ft_fail(err, ret, "%s: etcd%s%s says: %s; %s", endpoint, e->user ? ", asked as user " : "",
		       e->user ? e->user : "", words, remedy);
}

/* --- who we are ------------------------------------------------------------ */

static int read_password(const struct etcd *e, char *buf, size_t size, struct fterr *err)
{
	FILE *file = fopen(e->password_file, "re");
	struct stat st;
	int ret = 0;

	if (!file)
		return ft_fail(err, -errno, "password-file %s can't be read: %s; correct it in [arbiter]",
			       e->password_file, strerror(errno));
	if (fstat(fileno(file), &st) || st.st_mode & 0007)
		ret = ft_fail(err, -EPERM, "password-file %s is open to all users; chmod o= it, and change what is in it",
			      e->password_file);
	else if (!fgets(buf, size, file) || strlen(buf) + 1 == size)
		ret = ft_fail(err, -EINVAL, "password-file %s has no password, or a very long one; write one line",
			      e->password_file);
	else
		buf[strcspn(buf, "\r\n")] = '\0';
	fclose(file);
	return ret;
}

/* @token: that is old, and gets the new one. */
static int log_in(struct etcd_talk *t, const char *endpoint, char *token, int64_t until, bool *final,
		  struct fterr *err)
{
	struct etcd *e = t->etcd;
	struct said said = { 0 };
	const char *got = NULL;
	json_t *question;
	char password[256];
	char *text;
	int ret;

	pthread_mutex_lock(&e->lock);
	/* Another thread may have been here. */
	ret = *e->token && strcmp(e->token, token);
	memcpy(token, e->token, TOKEN_MAX);
	pthread_mutex_unlock(&e->lock);
	if (ret)
		return 0;

	ret = read_password(e, password, sizeof(password), err);
	*final = ret;
	if (ret)
		return ret;
	question = json_pack("{ss ss}", "name", e->user, "password", password);
	text = question ? json_dumps(question, JSON_COMPACT) : NULL;
	json_decref(question);
	explicit_bzero(password, sizeof(password));
	if (!text)
		return ft_fail(err, -EINVAL, "user or password is not UTF-8; correct them in [arbiter]");
	ret = post(t, endpoint, "/v3/auth/authenticate", text, "", until, &said, err);
	explicit_bzero(text, strlen(text));
	free(text);
	if (!ret)
		got = json_string_value(json_object_get(said.json, "token"));
	if (!ret && said.status != 200)
		ret = explain_said(e, endpoint, &said, final, err);
	else if (!ret && (!got || strlen(got) >= TOKEN_MAX || strpbrk(got, "\r\n")))
		ret = ft_fail(err, -EPROTO, "%s: etcd gives no token that can be used; see its --auth-token",
			      endpoint);
	if (!ret) {
		snprintf(token, TOKEN_MAX, "%s", got);
		pthread_mutex_lock(&e->lock);
		memcpy(e->token, token, TOKEN_MAX);
		pthread_mutex_unlock(&e->lock);
	}
	forget(&said);
	return ret;
}

/* Ask there, with a token if we have to have one. */
static int ask_one(struct etcd_talk *t, const char *endpoint, const char *path, const char *text, int64_t until,
		   struct said *said, bool *final, struct fterr *err)
{
	struct etcd *e = t->etcd;
	char token[TOKEN_MAX] = "";
	int ret = 0;

	*final = false;
	if (e->user) {
		pthread_mutex_lock(&e->lock);
		memcpy(token, e->token, TOKEN_MAX);
		pthread_mutex_unlock(&e->lock);
		if (!*token)
			ret = log_in(t, endpoint, token, until, final, err);
	}
	if (!ret)
		ret = post(t, endpoint, path, text, token, until, said, err);
	if (!ret && e->user && token_is_old(said)) {
		ret = log_in(t, endpoint, token, until, final, err);
		if (!ret)
			ret = post(t, endpoint, path, text, token, until, said, err);
	}
	if (!ret && said->status != 200)
		ret = explain_said(e, endpoint, said, final, err);
	return ret;
}

/* --- all of them ----------------------------------------------------------- */

int etcd_ask(struct etcd_talk *t, const char *path, json_t *question, json_t **answer, struct fterr *err)
{
	char *text = question ? json_dumps(question, JSON_COMPACT) : NULL;
	size_t first = t->etcd->good, n = t->etcd->n, i;
	struct said said = { 0 };
	struct fterr one, all = { 0 };
	bool final = false;
	int ret = -EIO;

	*answer = NULL;
	json_decref(question);
	if (!text)
		return ft_fail(err, -ENOMEM, "no memory to ask etcd");
	for (i = 0; i < n && !final; i++) {
		size_t which = (first + i) % n;
		int64_t now = ft_now_ms();

		/* One that hangs leaves time for the others. */
		ret = ask_one(t, t->etcd->endpoints[which], path, text, now + (t->deadline - now) / (int64_t)(n - i),
			      &said, &final, &one);
		if (!ret) {
			t->etcd->good = which;
			*answer = json_incref(said.json);
			break;
		}
		if (i && !final)
			ft_fail_prefix(&one, "%s; ", all.text);
		all = one;
	}
	if (ret && err)
		*err = all;
	forget(&said);
	free(text);
	return ret;
}

int etcd_hello(struct etcd *etcd, struct etcd_talk *t, int64_t deadline, struct fterr *err)
{
	t->etcd = etcd;
	t->deadline = deadline;
	t->curl = curl_easy_init();
	return t->curl ? 0 : ft_fail(err, -ENOMEM, "no memory to ask etcd");
}

void etcd_bye(struct etcd_talk *t)
{
	curl_easy_cleanup(t->curl);
}

static void init_curl(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

static bool copy(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return *to || !from;
}

int etcd_new(const struct ftconfig *c, struct etcd **etcd, struct fterr *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct etcd *e = calloc(1, sizeof(*e));
	bool good;

	pthread_once(&once, init_curl);
	if (!e)
		return ft_fail(err, -ENOMEM, "no memory for etcd's endpoints");
	pthread_mutex_init(&e->lock, NULL);
	e->endpoints = calloc(c->arbiter.n_endpoints, sizeof(*e->endpoints));
	good = e->endpoints && copy(&e->ca, c->arbiter.ca) && copy(&e->cert, c->arbiter.cert) &&
	       copy(&e->key, c->arbiter.key) && copy(&e->user, c->arbiter.user) &&
	       copy(&e->password_file, c->arbiter.password_file);
	while (good && e->n < c->arbiter.n_endpoints) {
		good = copy(&e->endpoints[e->n], c->arbiter.endpoints[e->n]);
		e->n += good;
	}
	if (good) {
		*etcd = e;
		return 0;
	}
	etcd_free(e);
	return ft_fail(err, -ENOMEM, "no memory for etcd's endpoints");
}

void etcd_free(struct etcd *e)
{
	while (e->n)
		free(e->endpoints[--e->n]);
	free(e->endpoints);
	free(e->ca);
	free(e->cert);
	free(e->key);
	free(e->user);
	free(e->password_file);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
