# SPDX-License-Identifier: GPL-2.0
#
# ftkvm: the module, the daemon, the command.
#
#   make                    for the running kernel (needs its headers)
#   make KREL=6.12.x-amd64  for another one that is installed
#   sudo make install
#   make check              tests of every part, in an hour; the long ones: torture, soak, faults,
#                           partition, fuzz, bench, check-debug, prove

KREL ?= $(shell uname -r)
KDIR ?= /lib/modules/$(KREL)/build
KMODS ?= /lib/modules/$(KREL)/kernel/arch/x86/kvm
DESTDIR ?=
PREFIX ?= /usr

O := $(CURDIR)/build
KOUT ?= $(O)/kmod-$(KREL)

# Debian builds its kernels with this one
KCC ?= $(shell command -v gcc-12 || echo gcc)

export FTKVM_CACHE ?= $(HOME)/.cache/ftkvm

.PHONY: all kmod userspace install check kunit torture soak faults partition fuzz model pmu-qualify bench check-debug prove demo testbed clean

all: kmod userspace

# ---- the module -------------------------------------------------------------

btf = $(firstword $(wildcard $(KDIR)/vmlinux /sys/kernel/btf/vmlinux))
kvm_ko = $(firstword $(wildcard $(KMODS)/$(1).ko $(KMODS)/$(1).ko.xz $(KMODS)/$(1).ko.zst))

kmod:
	@test -e $(KDIR)/Makefile || { \
		echo "no kernel headers at $(KDIR): apt-get install linux-headers-$(KREL)" >&2; exit 1; }
	@test -n "$(call kvm_ko,kvm-amd)" || { \
		echo "no kvm-amd.ko in $(KMODS): is KREL=$(KREL) an installed kernel?" >&2; exit 1; }
	@mkdir -p $(KOUT)/kvm
	@cp -rsfT $(CURDIR)/kmod $(KOUT)
	@ln -sfnT $(CURDIR)/include $(KOUT)/../include
	@kmod/kvm/genlayout $(btf) $(call kvm_ko,kvm) $(call kvm_ko,kvm-amd) $(KOUT)/kvm/layout.h.new
	@cmp -s $(KOUT)/kvm/layout.h.new $(KOUT)/kvm/layout.h || \
		cp $(KOUT)/kvm/layout.h.new $(KOUT)/kvm/layout.h
	$(MAKE) -C $(KDIR) M=$(KOUT) CC=$(KCC) CONFIG_FTKVM=m \
		$(if $(FAULTS),CONFIG_FTKVM_FAULTS=y) modules

userspace:
	$(MAKE) -C userspace O=$(O)/userspace

# Where there are headers only Kbuild leaves depmod out
install: all
	$(MAKE) -C $(KDIR) M=$(KOUT) CC=$(KCC) CONFIG_FTKVM=m \
		INSTALL_MOD_PATH=$(DESTDIR) INSTALL_MOD_DIR=extra modules_install
	$(if $(DESTDIR),,depmod $(KREL))
	$(MAKE) -C userspace O=$(O)/userspace DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) install

# ---- the testbed: everything on a stock Debian kernel of its own ------------

testbed:
	tests/testbed/setup
	$(MAKE) kmod userspace KREL="$$(cat $(O)/kernel/release)" KDIR=$(O)/kernel/headers \
		KMODS="$(O)/kernel/lib/modules/$$(cat $(O)/kernel/release)/kernel/arch/x86/kvm" \
		KOUT=$(O)/kmod

# A Linux guest outlives its host: make demo [KILL=backup] [SEED=number]
KILL ?= primary
SEED ?=

# setup installs it, if a fresh machine has none
python3 = command -v python3 > /dev/null || tests/testbed/setup --kernel-only

demo:
	@$(python3)
	@tests/demo/run --kill $(KILL) $(if $(SEED),--seed $(SEED))

# ---- tests: the last line is "N passed, N failed" -----------------------------

check: testbed
	@tests/check

kunit:
	@tests/kunit/run

# The long forms of what make check does in part; SEED=number
export SEED MINUTES

torture: testbed
	@tests/e2e/run $(if $(ALL),--all,--more) -k torture_

# A Linux server that loses hosts at random: MINUTES=30 of it
soak: testbed
	@tests/soak/run

faults: testbed
	@tests/faults/run

# Hosts that lose each other, and the arbiter that decides
partition: testbed
	@tests/partition

fuzz:
	@tests/fuzz/run

# The failover protocol, searched exhaustively by spin
model:
	@tests/model/run

# Is this host's counter fit? Run as root, on hardware
pmu-qualify:
	$(MAKE) -C tests/pmu-qualify KREL=$(KREL) KDIR=$(KDIR)

# In instructions, on an emulated host: build/bench
bench:
	@$(python3)
	@tests/bench/run

# On kernels that look after themselves, built once: half an hour or more
check-debug:
	@tests/check-debug

# Can the tests fail? What they look at is broken, in known ways: hours
prove:
	@tests/prove

clean:
	rm -rf $(O)/kmod $(O)/kmod-* $(O)/userspace $(O)/include
