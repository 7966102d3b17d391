//go:build !purego

package xts

import "github.com/klauspost/cpuid/v2"

func assembly() []implementation {
	return []implementation{{
		name: "arm64-aes",
		reason: func() string {
			if cpuid.CPU.Supports(cpuid.ASIMD, cpuid.AESARM) {
				return ""
			}
			return "processor without the AES instructions of ARMv8"
		},
		expand: kernels{encrypt10ARM64, decrypt10ARM64, encrypt14ARM64, decrypt14ARM64}.expand,
	}}
}

// The kernels take stream and ignore it: there is no store around the caches
// that leaves the memory model as it is.

//go:noescape
func encrypt10ARM64(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt10ARM64(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func encrypt14ARM64(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)

//go:noescape
func decrypt14ARM64(s *schedule, dst, src *byte, sector, n int, iv, step uint64, stream int)
