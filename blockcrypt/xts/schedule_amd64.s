//go:build !purego

#include "textflag.h"

// func subWord(w uint32) uint32
TEXT ·subWord(SB), NOSPLIT, $0-12
	MOVL            w+0(FP), AX
	VMOVD           AX, X0
	VPSLLDQ         $4, X0, X0 // AESKEYGENASSIST looks at the words 1 and 3
	VAESKEYGENASSIST $0, X0, X0
	VMOVD           X0, AX     // word 0 of the result is SubWord(word 1)
	VPXOR           X0, X0, X0
	MOVL            AX, ret+8(FP)
	RET

// func invMixColumns(dst, src *[16]byte)
TEXT ·invMixColumns(SB), NOSPLIT, $0-16
	MOVQ    dst+0(FP), DI
	MOVQ    src+8(FP), SI
	VMOVDQU (SI), X0
	VAESIMC X0, X0
	VMOVDQU X0, (DI)
	VPXOR   X0, X0, X0
	RET
