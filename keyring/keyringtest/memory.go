package keyringtest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"sealbay/keyring"
)

// Needle is 32 secret bytes, masked, so that a search for them does not find
// itself.
type Needle [keyring.KeySize]byte

const needleMask = 0x5c

// MakeNeedle returns the needle of secret, KeySize bytes.
func MakeNeedle(secret []byte) (n Needle) {
	for i := range n {
		n[i] = secret[i] ^ needleMask
	}
	return n
}

// NeedleOf returns the needle of a key.
func NeedleOf(t testing.TB, key *keyring.MasterKey) (n Needle) {
	t.Helper()
	if err := key.Use(func(b []byte) error { n = MakeNeedle(b); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// around is how much before and behind a copy is looked at.
const around = 2048

// Find returns a description of each copy of the secret in the writable memory
// of this process: where it lies, and what lies around it.
func (n *Needle) Find(t testing.TB) (copies []string) {
	t.Helper()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	const chunk = 1 << 20
	scratch, err := syscall.Mmap(-1, 0, chunk+2*around, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Munmap(scratch)
	own := fmt.Sprintf("%p", scratch)[2:]
	for line := range strings.Lines(string(maps)) {
		var lo, hi, self uint64
		var perm string
		if _, err := fmt.Sscanf(line+" "+own, "%x-%x %s", &lo, &hi, &perm); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		fmt.Sscanf(own, "%x", &self)
		for at := lo; at < hi && strings.HasPrefix(perm, "rw"); at += chunk {
			if at < self+uint64(len(scratch)) && self < min(at+chunk, hi) {
				continue // the scratch buffer
			}
			from := max(lo, at-min(at, around))
			got, _ := mem.ReadAt(scratch[:min(uint64(len(scratch)), hi-from)], int64(from)) // what cannot be read holds nothing
			for _, i := range n.in(scratch[:got], int(at-from), int(min(at+chunk, hi)-from)) {
				copies = append(copies, n.describe(scratch[:got], i, from, strings.TrimSpace(line)))
			}
		}
	}
	clear(scratch)
	return copies
}

// in returns where in b the secret starts, from first up to limit.
func (n *Needle) in(b []byte, first, limit int) (at []int) {
	limit = min(limit, len(b)-len(n)+1)
	for i := first; i < limit; i++ {
		next := bytes.IndexByte(b[i:limit], n[0]^needleMask)
		if next < 0 {
			return at
		}
		i += next
		j := 0
		for j < len(n) && b[i+j]^needleMask == n[j] {
			j++
		}
		if j == len(n) {
			at = append(at, i)
		}
	}
	return at
}

// describe tells what is known of the copy at b[i]; b lies at base in the
// mapping.
func (n *Needle) describe(b []byte, i int, base uint64, mapping string) string {
	s := fmt.Sprintf("at %#x in %s", base+uint64(i), mapping)
	if frame := signalFrame(b, i, base); frame != "" {
		return s + ": " + frame
	}
	for at := max(0, i-256) &^ 7; at+8 <= min(len(b), i+256); at += 8 {
		if at+8 > i && at < i+len(n) {
			s += fmt.Sprintf("\n  %#x: (secret)", base+uint64(at))
			continue
		}
		word := binary.LittleEndian.Uint64(b[at:])
		s += fmt.Sprintf("\n  %#x: %016x %s", base+uint64(at), word, funcAt(word))
	}
	return s
}

// signalFrame tells of a copy that is part of the registers that the kernel
// saved for a signal (struct _fpstate_64 of asm/sigcontext.h: XMM0 at byte
// 160, FP_XSTATE_MAGIC1 at 464): which register, and what was interrupted.
func signalFrame(b []byte, i int, base uint64) string {
	const xmm0, magicAt, magic = 160, 464, 0x46505853
	for reg := range 16 {
		fp := i - xmm0 - 16*reg
		if fp < 0 || fp+magicAt+4 > len(b) || binary.LittleEndian.Uint32(b[fp+magicAt:]) != magic {
			continue
		}
		// Below it stands struct sigcontext with its address; rip is seven words before that.
		for at := fp &^ 7; at >= max(64, fp-1024); at -= 8 {
			if binary.LittleEndian.Uint64(b[at:]) == base+uint64(fp) {
				return fmt.Sprintf("XMM%d and the next in the registers saved by a signal that met %s", reg, funcAt(binary.LittleEndian.Uint64(b[at-56:])))
			}
		}
		return fmt.Sprintf("XMM%d and the next in registers saved by a signal", reg)
	}
	return ""
}

func funcAt(pc uint64) string {
	f := runtime.FuncForPC(uintptr(pc))
	if f == nil {
		return ""
	}
	file, line := f.FileLine(uintptr(pc))
	return fmt.Sprintf("%s %s:%d", f.Name(), file, line)
}
