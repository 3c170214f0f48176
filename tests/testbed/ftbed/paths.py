# SPDX-License-Identifier: GPL-2.0
"""Where things are. Nothing here depends on the directory one stands in."""
import os
import subprocess

TESTBED = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(os.path.dirname(TESTBED))
GUESTS = os.path.join(TOP, "tests", "guests")
BUILD = os.path.join(TOP, "build")
WORK = os.path.join(BUILD, "testbed")

# The kernel of the emulated hosts: the stock one, or one of tests/testbed/debug,
# which does the same with more instructions.
KIND = os.environ.get("FTKVM_KERNEL", "")
SLOWNESS = 5 if KIND else 1
MORE_MEMORY = 1024 if KIND else 0	# MiB of a host: shadows, quarantine
_SUFFIX = "-" + KIND if KIND else ""


class SetupError(Exception):
    """Something has not been made yet; the text says how to make it."""


def _last_line(command):
    try:
        out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(f"{os.path.relpath(command[0], TOP)} failed ({error}): "
                         "run tests/testbed/setup") from error
    return out.strip().splitlines()[-1]


def _release(directory):
    try:
        with open(os.path.join(directory, "release"), encoding="ascii") as file:
            return file.read().strip()
    except OSError as error:
        raise SetupError("no kernel yet: run tests/testbed/setup") from error


def host_kernel_dir():
    """Release, modules and headers of the hosts' kernel."""
    return os.path.join(BUILD, "kernel" + _SUFFIX)


def kernel_release():
    """Of the hosts' kernel."""
    return _release(host_kernel_dir())


def kernel_image():
    """A Linux guest's kernel: the stock one, unless a test asks for another."""
    stock = os.path.join(BUILD, "kernel")
    return os.path.join(stock, "boot", "vmlinuz-" + _release(stock))


def emulator():
    """The emulator with the PMU. FTKVM_EMULATOR names another one."""
    named = os.environ.get("FTKVM_EMULATOR")
    return named or _last_line([os.path.join(TESTBED, "emulator", "build")])


def host_image():
    return _last_line([os.path.join(TESTBED, "host", "build")])


def host_kernel():
    """The same kernel in the form that an emulated host boots faster."""
    return _last_line([os.path.join(TESTBED, "host", "kernel")])


def relay():
    return _last_line([os.path.join(TESTBED, "link", "build")])


def guests():
    """The directory of built guests."""
    return _last_line([os.path.join(GUESTS, "build")])


def guest_kernel(suite, release):
    """The directory of another kernel for the server guest; fetched when first asked for."""
    return _last_line([os.path.join(GUESTS, "kernel"), suite, release])


def work():
    """The directory of the guest that runs real programs; fetched and built when first asked for."""
    return _last_line([os.path.join(GUESTS, "work", "build")])


def product(name, variable, *places):
    """A built part of ftkvm: named by the environment, or in a usual place."""
    named = os.environ.get(variable)
    if named:
        return os.path.abspath(named)
    for place in places:
        path = os.path.join(TOP, place)
        if os.path.exists(path):
            return path
    raise SetupError(f"no {name} in {' or '.join(places)}: run make (or set {variable})")


def sanlock():
    """Debian's, which is installed nowhere; fetched when first asked for."""
    return os.path.join(unpacked("sanlock", "sanlock"), "usr", "sbin", "sanlock")


def etcd():
    """As sanlock()."""
    return os.path.join(unpacked("etcd", "etcd-server"), "usr", "bin", "etcd")


def unpacked(*words):
    """A directory of the cache with packages of Debian's, as tests/testbed/unpack has it."""
    return _last_line([os.path.join(TESTBED, "unpack"), *words])


def module():
    return product("ftkvm.ko", "FTKVM_MODULE", f"build/kmod{_SUFFIX}/ftkvm.ko",
                   *([] if KIND else ["kmod/ftkvm.ko"]))


def ftd():
    return product("ftd", "FTKVM_FTD", "build/userspace/ftd", "userspace/ftd")


def ftctl():
    return product("ftctl", "FTKVM_FTCTL", "build/userspace/ftctl", "userspace/ftctl")
