//go:build !purego

package xts

import (
	"strings"

	"github.com/klauspost/cpuid/v2"
)

//go:generate go run -C _asm . -impl vaes512 -out ../xts_vaes512_amd64.s
//go:generate go run -C _asm . -impl vex -out ../xts_vex_amd64.s

// assembly lists the kernels, the fastest first. Wide registers come first
// whatever they do to the clock: the processors that slow down much under
// AVX-512 (Skylake to Cascade Lake) have no VAES and never get that far. On
// Zen 4 the clock does not change, and although its AES units are only 256 bits
// wide the kernel for AVX-512 is faster by a tenth.
func assembly() []implementation {
	return []implementation{
		{
			name:   "vaes-avx512",
			reason: needs(cpuid.AESNI, cpuid.VAES, cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL, cpuid.POPCNT),
			expand: kernels{encrypt10VAES512, decrypt10VAES512, encrypt14VAES512, decrypt14VAES512}.expand,
		},
		{
			name:   "vaes-avx2",
			reason: needs(cpuid.AESNI, cpuid.VAES, cpuid.AVX2),
			expand: kernels{encrypt10VAES256, decrypt10VAES256, encrypt14VAES256, decrypt14VAES256}.expand,
		},
		{
			name:   "aesni-avx2",
			reason: needs(cpuid.AESNI, cpuid.AVX2),
			expand: kernels{encrypt10AESNIAVX2, decrypt10AESNIAVX2, encrypt14AESNIAVX2, decrypt14AESNIAVX2}.expand,
		},
		{
			name:   "aesni-avx",
			reason: needs(cpuid.AESNI, cpuid.AVX),
			expand: kernels{encrypt10AESNIAVX, decrypt10AESNIAVX, encrypt14AESNIAVX, decrypt14AESNIAVX}.expand,
		},
	}
}

// needs returns a function that names what the processor, or the operating
// system by what it saves of the registers, lacks.
func needs(features ...cpuid.FeatureID) func() string {
	return func() string {
		var missing []string
		for _, f := range features {
			if !cpuid.CPU.Supports(f) {
				missing = append(missing, f.String())
			}
		}
		if missing == nil {
			return ""
		}
		return "processor or operating system without " + strings.Join(missing, ", ")
	}
}

//go:noescape
func encrypt10VAES512(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt10VAES512(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt14VAES512(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt14VAES512(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt10VAES256(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt10VAES256(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt14VAES256(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt14VAES256(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt10AESNIAVX2(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt10AESNIAVX2(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt14AESNIAVX2(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt14AESNIAVX2(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt10AESNIAVX(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt10AESNIAVX(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt14AESNIAVX(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt14AESNIAVX(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)
