//go:build !purego

package cipher

import "github.com/klauspost/cpuid/v2"

// aesPerTurn is the number of AES instructions in a turn of the loops below.
const aesPerTurn = 8 * 16

//go:noescape
func aes512(turns int)

//go:noescape
func aes256(turns int)

//go:noescape
func aes128(turns int)

//go:noescape
func multiply(turns int)

// aesLoops are the loops of bare AES instructions that run here, by the width
// of their registers in bytes.
func aesLoops() map[int]func(turns int) {
	loops := map[int]func(int){}
	if cpuid.CPU.Supports(cpuid.AESNI, cpuid.AVX) {
		loops[16] = aes128
	}
	if cpuid.CPU.Supports(cpuid.VAES, cpuid.AVX2) {
		loops[32] = aes256
	}
	if cpuid.CPU.Supports(cpuid.VAES, cpuid.AVX512F) {
		loops[64] = aes512
	}
	return loops
}

// boundWidths says which loop bounds which implementation of package xts.
var boundWidths = map[string]int{"vaes-avx512": 64, "vaes-avx2": 32, "aesni-avx2": 16, "aesni-avx": 16}

// clockLoop is a loop of clockCycles cycles a turn, whatever the clock: a
// 64-bit multiplication has had a latency of 3 cycles on every x86 processor
// with AES instructions.
var clockLoop = multiply

const clockCycles = 16 * 3
