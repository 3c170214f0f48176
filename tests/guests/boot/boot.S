/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A disk that firmware boots from: 16-bit code in real mode, which knows of no device
 * but by the firmware's INT 13h. The first sector reads those behind it, and they
 *
 *	read DATA_COUNT sectors from DATA on, a few at a time, and say a sum of each;
 *	round after round write some sectors, read them and those of an earlier
 *	round back and compare, say a sum, and halt until the clock has ticked.
 *
 * Whoever makes the disk sets the number of rounds at offset 440 of it, where partition
 * tables keep a disk's signature, and puts what he likes at DATA. The rounds write from
 * sector AREA on, four of them for each; what: see pattern.
 */
#define COM1		0x3f8
#define EXIT		0xf4		/* isa-debug-exit */
#define SELF		0x7c00
#define SECTORS		4		/* of this code */
#define DATA		64
#define DATA_COUNT	256
#define AREA		1024
#define BUFFER		0x1000		/* segments */
#define WRITTEN		0x2000
#define SCALE		0x9e3779b1
#define TICKS		0x46c		/* the firmware's count of them */

	.code16
	.text
	.globl start
start:
	ljmp $0, $1f
1:	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $SELF, %sp
	sti
	cld
	movb %dl, drive

	movw $COM1 + 3, %dx		/* 115200 baud, 8 bits, no parity */
	movb $0x83, %al
	outb %al, %dx
	movw $COM1, %dx
	movw $1, %ax
	outw %ax, %dx
	movw $COM1 + 3, %dx
	movb $3, %al
	outb %al, %dx

	movw $text_begin, %si
	call print
	movzbl drive, %eax
	call print_hex
	call print_end
	movl $1, sector
	movw $SECTORS - 1, count
	movw $SELF + 512, offset
	movw $0, segment
	movb $0x42, %ah
	call disk
	jmp main

	/* INT 13h, function AH (0x42: read, 0x43: write), with the packet */
disk:
	movb %ah, what
	movb $0, %al
	movb drive, %dl
	movw $packet, %si
	pushal
	int $0x13
	movb %ah, failure
	popal
	jc 1f
	cld
	ret
1:	movw $text_disk, %si
	call print
	movl failure, %eax		/* status, function */
	call print_hex
	jmp fail

	/* the text at SI */
print:
	lodsb
	testb %al, %al
	jz 1f
	call put
	jmp print
1:	ret

put:
	pushw %dx
	pushw %ax
	movw $COM1 + 5, %dx
2:	inb %dx, %al
	testb $0x20, %al
	jz 2b
	popw %ax
	movw $COM1, %dx
	outb %al, %dx
	popw %dx
	ret

	/* a blank, and EAX */
print_hex:
	pushw %cx
	pushl %eax
	movb $' ', %al
	call put
	popl %eax
	movw $8, %cx
3:	roll $4, %eax
	pushl %eax
	andb $15, %al
	addb $'0', %al
	cmpb $'9', %al
	jbe 4f
	addb $'a' - '9' - 1, %al
4:	call put
	popl %eax
	loop 3b
	popw %cx
	ret

print_end:
	movw $text_end, %si
	jmp print

fail:
	call print_end
	movb $1, %al
	/* the guest is over, AL says how */
end:
	outb %al, $EXIT
5:	hlt
	jmp 5b

	.balign 4
packet:
	.byte 16, 0
count:	.word 0
offset:	.word 0
segment: .word 0
sector:	.long 0, 0
failure: .byte 0
what:	.byte 0
	.word 0
drive:	.byte 0
text_begin: .asciz "boot: drive"
text_disk: .asciz "boot: FAILED: disk"
text_end: .asciz "\r\n"

	.org 440
rounds:	.long 20
	.org 510
	.word 0xaa55

main:
	movl $SCALE, sum
	movl $DATA, sector
	movw $BUFFER, segment
	movw $0, offset
	movw $1, %cx
read:
	movw %cx, count
	movb $0x42, %ah
	call disk
	call add_up
	movw $text_read, %si
	call print
	movl sector, %eax
	call print_hex
	movl sum, %eax
	call print_hex
	call print_end
	movzwl count, %eax
	addl sector, %eax
	movl %eax, sector
	/* 1, 8, 15, 6, 13, 4, 11, 2, 9, 16, 7, 14, 5, 12, 3, 10 sectors; at the end what is left */
	addw $6, %cx
	andw $15, %cx
	incw %cx
	movw $DATA + DATA_COUNT, %bx
	subw %ax, %bx
	jz work
	cmpw %bx, %cx
	jbe read
	movw %bx, %cx
	jmp read

work:
	movl round, %eax
	cmpl rounds, %eax
	je good
	incl %eax
	movl %eax, round

	/* write this round's */
	call locate
	movw $WRITTEN, segment
	call pattern
	movb $0x43, %ah
	call disk
	call check			/* read it back */
	movl round, %eax
	shrl $1, %eax
	jz 1f
	call locate			/* and what was written long ago */
	call check
1:	movw $text_round, %si
	call print_sums
	movl TICKS, %eax
2:	hlt
	cmpl TICKS, %eax
	je 2b
	jmp work

	/* EAX = a round: its sectors into the packet */
locate:
	movl %eax, %ecx
	andw $3, %cx
	incw %cx
	movw %cx, count
	movl %eax, pattern_of
	shll $2, %eax
	addl $AREA, %eax
	movl %eax, sector
	ret

	/* What a round writes: numbers one after another, the first is the round's own. */
pattern:
	pushw %es
	movw $WRITTEN, %ax
	movw %ax, %es
	xorw %di, %di
	imull $SCALE, pattern_of, %eax
	movw count, %cx
	shlw $7, %cx
1:	stosl
	imull $1664525, %eax
	addl $1013904223, %eax
	loop 1b
	popw %es
	ret

	/* Read what the packet says, compare with what should be there. */
check:
	movw $BUFFER, segment
	movw segment, %ax
	pushw %es
	movw %ax, %es
	xorw %di, %di
	movw count, %cx
	shlw $7, %cx
	xorl %eax, %eax
	rep stosl
	popw %es
	movb $0x42, %ah
	call disk
	call pattern
	pushw %es
	pushw %ds
	movw $BUFFER, %ax
	movw %ax, %ds
	movw $WRITTEN, %ax
	movw %ax, %es
	xorw %si, %si
	xorw %di, %di
	movw %cs:count, %cx
	shlw $7, %cx
	repe cmpsl
	popw %ds
	popw %es
	je add_up
	movw $text_other, %si
	call print
	movl pattern_of, %eax
	call print_hex
	movzwl %si, %eax
	call print_hex
	jmp fail

	/* Add what was read to the sum. */
add_up:
	pushw %cx
	pushw %ds
	movl sum, %edx
	movw count, %cx
	shlw $7, %cx
	movw $BUFFER, %ax
	movw %ax, %ds
	xorw %si, %si
1:	lodsl
	xorl %edx, %eax
	roll $5, %eax
	imull $SCALE, %eax, %edx
	loop 1b
	popw %ds
	movl %edx, sum
	popw %cx
	ret

/* The round and the sum, behind the text at %si. */
print_sums:
	call print
	movl round, %eax
	call print_hex
	movl sum, %eax
	call print_hex
	jmp print_end

good:
	movw $text_good, %si
	call print_sums
	movb $0, %al
	jmp end

	.balign 4
sum:	.long 0
round:	.long 0
pattern_of: .long 0
text_read: .asciz "boot: read"
text_round: .asciz "boot: round"
text_other: .asciz "boot: FAILED: other data"
text_good: .asciz "boot: good"
	.org SECTORS * 512
