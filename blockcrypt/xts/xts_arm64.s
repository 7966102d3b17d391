//go:build !purego

#include "textflag.h"

// Registers of all kernels:
//
//	R0 schedule  R1 dst  R2 src  R3 sector size  R4 sectors left
//	R5 IV of the next sector without tweak  R6 IV step
//	R7 next tweak in the frame  R12 tweaks left there
//	R8, R9 tweak  R11 bytes left in the sector  R10, R13, R14 scratch
//	V0-V7 data  V8-V15 their tweaks  V16-V30 round keys  V31 scratch

// ROUND8 is a round of AES on eight blocks: SubBytes and ShiftRows after the
// key, then MixColumns, or their inverses. The pairs stand together because
// processors fuse them.
#define ROUND8(A, M, K) \
	A K, V0.B16; M V0.B16, V0.B16; \
	A K, V1.B16; M V1.B16, V1.B16; \
	A K, V2.B16; M V2.B16, V2.B16; \
	A K, V3.B16; M V3.B16, V3.B16; \
	A K, V4.B16; M V4.B16, V4.B16; \
	A K, V5.B16; M V5.B16, V5.B16; \
	A K, V6.B16; M V6.B16, V6.B16; \
	A K, V7.B16; M V7.B16, V7.B16

// LAST8 is the last round, without MixColumns.
#define LAST8(A, K) \
	A K, V0.B16; A K, V1.B16; A K, V2.B16; A K, V3.B16; \
	A K, V4.B16; A K, V5.B16; A K, V6.B16; A K, V7.B16

// XOR8 adds one value, XOREACH a value of its own to each block.
#define XOR8(K) \
	VEOR K, V0.B16, V0.B16; VEOR K, V1.B16, V1.B16; \
	VEOR K, V2.B16, V2.B16; VEOR K, V3.B16, V3.B16; \
	VEOR K, V4.B16, V4.B16; VEOR K, V5.B16, V5.B16; \
	VEOR K, V6.B16, V6.B16; VEOR K, V7.B16, V7.B16

#define XOREACH \
	VEOR V8.B16, V0.B16, V0.B16; VEOR V9.B16, V1.B16, V1.B16; \
	VEOR V10.B16, V2.B16, V2.B16; VEOR V11.B16, V3.B16, V3.B16; \
	VEOR V12.B16, V4.B16, V4.B16; VEOR V13.B16, V5.B16, V5.B16; \
	VEOR V14.B16, V6.B16, V6.B16; VEOR V15.B16, V7.B16, V7.B16

// IV sets block V to the next IV.
#define IV(V) \
	VEOR V.B16, V.B16, V.B16; \
	VMOV R5, V.D[0]; \
	ADD  R6, R5

// TWEAK sets V to the tweak and doubles the tweak modulo
// x^128 + x^7 + x^2 + x + 1, without a branch.
#define TWEAK(V) \
	VMOV R8, V.D[0]; \
	VMOV R9, V.D[1]; \
	ASR  $63, R9, R10; \
	AND  $0x87, R10, R10; \
	EXTR $63, R8, R9, R9; \
	EOR  R8<<1, R10, R8

// WIPEKEYS leaves no round key in a register.
#define ZERO(V) VEOR V.B16, V.B16, V.B16
#define WIPEKEYS \
	ZERO(V16); ZERO(V17); ZERO(V18); ZERO(V19); ZERO(V20); \
	ZERO(V21); ZERO(V22); ZERO(V23); ZERO(V24); ZERO(V25); \
	ZERO(V26); ZERO(V27); ZERO(V28); ZERO(V29); ZERO(V30); ZERO(V31)

#define FUNC ·encrypt10ARM64
#define AES AESE
#define MIX AESMC
#define ROUNDS 10
#define KEYS 128
#include "xts_arm64_kernel.h"
#undef FUNC
#undef AES
#undef MIX
#undef KEYS

#define FUNC ·decrypt10ARM64
#define AES AESD
#define MIX AESIMC
#define KEYS 368
#include "xts_arm64_kernel.h"
#undef FUNC
#undef AES
#undef MIX
#undef ROUNDS
#undef KEYS

#define AES256
#define FUNC ·encrypt14ARM64
#define AES AESE
#define MIX AESMC
#define ROUNDS 14
#define KEYS 128
#include "xts_arm64_kernel.h"
#undef FUNC
#undef AES
#undef MIX
#undef KEYS

#define FUNC ·decrypt14ARM64
#define AES AESD
#define MIX AESIMC
#define KEYS 368
#include "xts_arm64_kernel.h"
