//go:build !purego

#include "textflag.h"

// Eight independent chains keep an AES unit busy that takes two instructions
// a cycle and needs four cycles for each. 8 * 16 instructions a turn.

#define ROUND(R0, R1, R2, R3, R4, R5, R6, R7, K) \
	VAESENC K, R0, R0 \
	VAESENC K, R1, R1 \
	VAESENC K, R2, R2 \
	VAESENC K, R3, R3 \
	VAESENC K, R4, R4 \
	VAESENC K, R5, R5 \
	VAESENC K, R6, R6 \
	VAESENC K, R7, R7

#define ROUNDZ ROUND(Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8)
#define ROUNDY ROUND(Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8)
#define ROUNDX ROUND(X0, X1, X2, X3, X4, X5, X6, X7, X8)

// func aes512(turns int)
TEXT ·aes512(SB), NOSPLIT, $0-8
	MOVQ turns+0(FP), CX
turn:
	ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ
	ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ; ROUNDZ
	DECQ CX
	JNZ  turn
	VZEROUPPER
	RET

// func aes256(turns int)
TEXT ·aes256(SB), NOSPLIT, $0-8
	MOVQ turns+0(FP), CX
turn:
	ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY
	ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY; ROUNDY
	DECQ CX
	JNZ  turn
	VZEROUPPER
	RET

// func aes128(turns int)
TEXT ·aes128(SB), NOSPLIT, $0-8
	MOVQ turns+0(FP), CX
turn:
	ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX
	ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX; ROUNDX
	DECQ CX
	JNZ  turn
	RET

// func multiply(turns int)
// 16 dependent multiplications a turn, 3 cycles each.
TEXT ·multiply(SB), NOSPLIT, $0-8
	MOVQ turns+0(FP), CX
	MOVQ $3, AX
turn:
	IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX
	IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX
	IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX
	IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX; IMULQ AX, AX
	DECQ CX
	JNZ  turn
	RET
