// SPDX-License-Identifier: GPL-2.0
/*
 * ftd-alone and ftctl-alone are those whose module can do nothing but say what it is told of
 * devices: what it "has" are files in the directory FTKVM_STANDIN. A file
 * "refuse" there names the command that is refused, "busy" makes DEV_DEL so.
 * The linker puts these in the place of nl_dev.c's, and a QEMU under TCG has a VM,
 * unless it is "vm" that is refused.
 * If there is a file "guests", any guest can be attached and paired, and as long as there is one
 * "slow" the module does not answer what is asked of a guest; "idle": each guest is idle.
 * ".replicas" is what it tells of all of them, or of one of them, as ftctl -j status does, and
 * ".replicas.next" what it does from then on that it is to promote one.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "nl_dev.h"
#include "qmp.h"
#include "replica_json.h"
#include "text.h"

#define FDS	1024

static pid_t vm_pid[FDS];

int __wrap_ft_vm_fd(pid_t pid, struct fterr *err);
int __wrap_ft_guest_problems(struct ftqmp *q, struct ftproblems *p, struct fterr *err);
int __real_ft_guest_problems(struct ftqmp *q, struct ftproblems *p, struct fterr *err);
int __wrap_ftnl_attach(const char *name, int vm_fd, struct fterr *err);
int __wrap_ftnl_get(const char *name, struct ftreplica *r, struct fterr *err);
int __real_ftnl_get(const char *name, struct ftreplica *r, struct fterr *err);
int __wrap_ftnl_dump(struct ftreplica **list, size_t *n, struct fterr *err);
int __real_ftnl_dump(struct ftreplica **list, size_t *n, struct fterr *err);
int __wrap_ftnl_pair(const char *name, uint32_t role, int fd, const char *peer, const char *peer_name,
		     const struct ftsettings *set, struct fterr *err);
int __real_ftnl_pair(const char *name, uint32_t role, int fd, const char *peer, const char *peer_name,
		     const struct ftsettings *set, struct fterr *err);
int __wrap_ftnl_unpair(const char *name, struct fterr *err);
int __real_ftnl_unpair(const char *name, struct fterr *err);
int __wrap_ftnl_promote(const char *name, bool force, uint32_t state, uint64_t *takeover_ns, struct fterr *err);
int __real_ftnl_promote(const char *name, bool force, uint32_t state, uint64_t *takeover_ns, struct fterr *err);
int __wrap_ftnl_dev_add(const char *name, const struct ftdev_add *add, struct fterr *err);
int __wrap_ftnl_dev_del(const char *name, struct fterr *err);
int __wrap_ftnl_dev_start(const char *name, uint32_t queue, const struct ftdev_queue *q,
			  struct fterr *err);
int __wrap_ftnl_dev_call(const char *name, uint32_t queue, int call_fd, struct fterr *err);
int __wrap_ftnl_dev_stop(const char *name, uint32_t queue, uint32_t *base, struct fterr *err);
int __wrap_ftnl_dev_get(const char *name, struct ftdev *d, struct fterr *err);
int __wrap_ftnl_dev_dump(struct ftdev **list, size_t *n, struct fterr *err);

static FILE *file(const char *name, const char *mode)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", getenv("FTKVM_STANDIN"), name);
	return fopen(path, mode);
}

static bool there(const char *name)
{
	FILE *f = file(name, "r");

	if (f)
		fclose(f);
	return f;
}

static int refuse(const char *what, struct fterr *err)
{
	char word[32] = "";
	FILE *f = file("refuse", "r");

	if (!f)
		return 0;
	if (!fgets(word, sizeof(word), f))
		word[0] = '\0';
	fclose(f);
	return strcmp(word, what) ? 0 : ft_fail(err, -EIO, "the module refuses: %s", what);
}

int __wrap_ft_vm_fd(pid_t pid, struct fterr *err)
{
	int fd;

	if (refuse("vm", err))
		return err->code;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (fd < 0 || fd >= FDS)
		return ft_fail(err, -EMFILE, "descriptor %d", fd);
	vm_pid[fd] = pid;
	return fd;
}

int __wrap_ft_guest_problems(struct ftqmp *q, struct ftproblems *p, struct fterr *err)
{
	return there("guests") ? 0 : __real_ft_guest_problems(q, p, err);
}

static bool told(const char *name, struct ftreplica *r)
{
	struct ftreplica *list = NULL;
	struct fterr ignored;
	bool it = false;
	size_t n = 0, i;

	if (!there(".replicas") || __wrap_ftnl_dump(&list, &n, &ignored))
		return false;
	for (i = 0; i < n && !it; i++) {
		it = !strcmp(list[i].name, name);
		*r = list[i];
	}
	free(list);
	return it;
}

int __wrap_ftnl_attach(const char *name, int vm_fd, struct fterr *err)
{
	struct ftreplica r;

	if (!there("guests"))
		return ft_fail(err, -ENOENT, "no guests");
	ft_log(SD_NOTICE, "module: attach %s pid %d", name, vm_pid[vm_fd]);
	return there("promoted") || (told(name, &r) && (pid_t)r.pid == vm_pid[vm_fd]) ? -EEXIST : 0;
}

/* A replica that was a backup: its process and its state are in a file. */
static bool promoted(struct ftreplica *r)
{
	FILE *f = file("promoted", "r");
	bool it;

	if (!f)
		return false;
	*r = (struct ftreplica){ .role = FTKVM_UAPI_ROLE_BACKUP };
	it = fscanf(f, "%u %u", &r->pid, &r->state) == 2;
	fclose(f);
	return it;
}

int __wrap_ftnl_get(const char *name, struct ftreplica *r, struct fterr *err)
{
	if (there("slow"))
		ft_log(SD_NOTICE, "module: get %s", name);
	while (there("slow"))
		usleep(20000);
	if (there("idle")) {
		*r = (struct ftreplica){ .state = FTKVM_UAPI_STATE_IDLE };
		return 0;
	}
	return promoted(r) || told(name, r) ? 0 : __real_ftnl_get(name, r, err);
}

int __wrap_ftnl_dump(struct ftreplica **list, size_t *n, struct fterr *err)
{
	FILE *f = getenv("FTKVM_STANDIN") ? file(".replicas", "r") : NULL;
	json_t *json, *one;
	size_t i;

	if (!f)
		return __real_ftnl_dump(list, n, err);
	json = json_loadf(f, 0, NULL);
	fclose(f);
	*list = calloc(json_array_size(json) + 1, sizeof(**list));
	*n = 0;
	json_array_foreach(json, i, one)
		*n += ft_replica_from_json(one, *list + *n);
	json_decref(json);
	return 0;
}

int __wrap_ftnl_pair(const char *name, uint32_t role, int fd, const char *peer, const char *peer_name,
		     const struct ftsettings *set, struct fterr *err)
{
	if (!there("guests"))
		return __real_ftnl_pair(name, role, fd, peer, peer_name, set, err);
	if (refuse("pair", err))
		return err->code;
	ft_log(SD_NOTICE, "module: pair %s role %u peer %s name \"%s\" on-loss %u%s", name, role, peer, peer_name,
	       set->on_loss, set->token ? " second" : "");
	return 0;
}

int __wrap_ftnl_unpair(const char *name, struct fterr *err)
{
	struct ftreplica r;

	if (!there("guests"))
		return __real_ftnl_unpair(name, err);
	if (told(name, &r) && (r.state == FTKVM_UAPI_STATE_IDLE || r.state == FTKVM_UAPI_STATE_SOLO))
		return ft_fail(err, -EINVAL, "guest %s is not paired", name);
	ft_log(SD_NOTICE, "module: unpair %s", name);
	return 0;
}

/* What comes between ftd's look at a guest and its order. */
static void happens(void)
{
	const char *dir = getenv("FTKVM_STANDIN");
	char from[512], to[512];

	snprintf(from, sizeof(from), "%s/.replicas.next", dir);
	snprintf(to, sizeof(to), "%s/.replicas", dir);
	rename(from, to);
}

/* It refuses what is not in the state that ftd has seen, or lives, as the module does; and promotes nothing. */
int __wrap_ftnl_promote(const char *name, bool force, uint32_t state, uint64_t *takeover_ns, struct fterr *err)
{
	struct ftreplica r;

	happens();
	if (!told(name, &r))
		return __real_ftnl_promote(name, force, state, takeover_ns, err);
	ft_log(SD_NOTICE, "module: promote %s force %d state %s, it is %s", name, force, ft_state_name(state),
	       ft_state_name(r.state));
	if (r.state != state)
		return ft_fail(err, -EAGAIN, "guest %s is %s now: promote it again", name, ft_state_name(r.state));
	if (state == FTKVM_UAPI_STATE_SOLO)
		return ft_fail(err, -EINVAL, "guest %s is solo: only a backup can be promoted", name);
	return __real_ftnl_promote(name, force, state, takeover_ns, err);
}

int __wrap_ftnl_dev_add(const char *name, const struct ftdev_add *add, struct fterr *err)
{
	struct stat st;
	FILE *f;

	if (fstat(add->vm_fd, &st) || !S_ISCHR(st.st_mode))
		return ft_fail(err, -EINVAL, "descriptor %d is no VM", add->vm_fd);
	if (there(name))
		return ft_fail(err, -EEXIST, "the module has a device %s", name);
	f = refuse("add", err) ? NULL : file(name, "w");
	if (!f)
		return err->code;
	fprintf(f, "%d %u %u %llu %d %d\n", vm_pid[add->vm_fd], add->no, add->kind,
		(unsigned long long)add->capacity, add->readonly, add->shared);
	fclose(f);
	ft_log(SD_NOTICE, "module: add %s no %u kind %u capacity %llu%s%s backend %s", name, add->no, add->kind,
	       (unsigned long long)add->capacity, add->readonly ? " readonly" : "", add->shared ? " shared" : "",
	       fcntl(add->backend_fd, F_GETFD) < 0 ? "missing" : "open");
	return 0;
}

int __wrap_ftnl_dev_del(const char *name, struct fterr *err)
{
	char path[512];

	if (there("busy"))
		return ft_fail(err, -EBUSY, "the guest is paired");
	snprintf(path, sizeof(path), "%s/%s", getenv("FTKVM_STANDIN"), name);
	if (unlink(path))
		return ft_fail(err, -errno, "the module has no device %s", name);
	ft_log(SD_NOTICE, "module: del %s", name);
	return 0;
}

int __wrap_ftnl_dev_start(const char *name, uint32_t queue, const struct ftdev_queue *q,
			  struct fterr *err)
{
	if (refuse("start", err))
		return err->code;
	ft_log(SD_NOTICE, "module: start %s %u features 0x%llx num %u base %u kick %s call %s", name, queue,
	       (unsigned long long)q->features, q->num, q->base,
	       fcntl(q->kick_fd, F_GETFD) < 0 ? "missing" : "open",
	       fcntl(q->call_fd, F_GETFD) < 0 ? "missing" : "open");
	return 0;
}

int __wrap_ftnl_dev_call(const char *name, uint32_t queue, int call_fd, struct fterr *err)
{
	(void)call_fd;
	(void)err;
	ft_log(SD_NOTICE, "module: call %s %u", name, queue);
	return 0;
}

int __wrap_ftnl_dev_stop(const char *name, uint32_t queue, uint32_t *base, struct fterr *err)
{
	if (refuse("stop", err))
		return err->code;
	*base = 0;
	ft_log(SD_NOTICE, "module: stop %s %u", name, queue);
	return 0;
}

int __wrap_ftnl_dev_get(const char *name, struct ftdev *d, struct fterr *err)
{
	FILE *f = file(name, "r");
	unsigned long long capacity = 0;
	int readonly = 0, shared = 0;

	memset(d, 0, sizeof(*d));
	if (!f)
		return ft_fail(err, -ENOENT, "the module has no device %s", name);
	if (fscanf(f, "%u %u %u %llu %d %d", &d->pid, &d->no, &d->kind, &capacity, &readonly,
		   &shared) >= 5)
		snprintf(d->name, sizeof(d->name), "%s", name);
	d->capacity = capacity;
	d->readonly = readonly;
	d->shared = shared;
	fclose(f);
	return 0;
}

int __wrap_ftnl_dev_dump(struct ftdev **list, size_t *n, struct fterr *err)
{
	DIR *dir = opendir(getenv("FTKVM_STANDIN"));
	struct dirent *e;

	*n = 0;
	*list = calloc(16, sizeof(**list));
	while (*n < 16 && (e = readdir(dir)))
		if (e->d_name[0] != '.' && !__wrap_ftnl_dev_get(e->d_name, *list + *n, err) &&
		    *(*list)[*n].name)
			++*n;
	closedir(dir);
	return 0;
}
