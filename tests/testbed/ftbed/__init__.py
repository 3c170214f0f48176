# SPDX-License-Identifier: GPL-2.0
"""Two emulated hosts that run one guest: what the testbed's drivers share.

paths      where things are
channel    byte streams of the emulators, with arrival times
agent      commands on an emulated host
emulator   one emulated host
hosts      both, and the wire between them
guest      a guest's QEMU on an emulated host
pairing    ftkvm on the hosts: module, daemon, pair, promote
console    what a guest printed: is it what one machine would print?
"""
