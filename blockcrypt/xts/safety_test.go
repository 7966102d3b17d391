package xts

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// guarded is memory between two pages that fault when touched.
type guarded struct {
	all, page []byte
}

func newGuarded(t *testing.T, size int) *guarded {
	t.Helper()
	pageSize := unix.Getpagesize()
	size = (size + pageSize - 1) / pageSize * pageSize
	all, err := unix.Mmap(-1, 0, size+2*pageSize, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(all) })
	g := &guarded{all: all, page: all[pageSize : pageSize+size]}
	g.protect(t, unix.PROT_READ|unix.PROT_WRITE)
	return g
}

func (g *guarded) protect(t *testing.T, prot int) {
	t.Helper()
	if err := unix.Mprotect(g.page, prot); err != nil {
		t.Fatal(err)
	}
}

// ends returns n bytes right behind the front guard and n right before the
// rear one.
func (g *guarded) ends(n int) [2][]byte {
	return [2][]byte{g.page[:n:n], g.page[len(g.page)-n:]}
}

// TestGuardPages: nothing outside the buffers is touched, and the source is
// not written.
func TestGuardPages(t *testing.T) {
	const most = 40 << 10
	src, dst := newGuarded(t, most), newGuarded(t, most)
	eachImpl(t, func(t *testing.T, impl string) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if err := recover(); err != nil {
				t.Errorf("touched memory outside the buffers: %v", err)
			}
		}()
		r := random(t, 10)
		for _, sector := range []int{16, 32, 112, 128, 144, 256, 272, 496, 512, 528, 1040, 4096, 4144} {
			o, key := Options{SectorSize: sector}, randBytes(r, 64)
			c := newTest(t, impl, key, o)
			for _, n := range []int{1, 2, 3, 8, 9, 16, 17} {
				if n*sector > most {
					continue
				}
				plain := randBytes(r, n*sector)
				want := xcrypto(t, key, plain, o, 7)
				for end := range 2 {
					src.protect(t, unix.PROT_READ|unix.PROT_WRITE)
					from, to := src.ends(len(plain))[end], dst.ends(len(plain))[1-end]
					copy(from, plain)
					src.protect(t, unix.PROT_READ)
					c.Encrypt(to, from, 7)
					if !bytes.Equal(to, want) {
						t.Fatalf("sector %d, %d of them: differs at byte %d", sector, n, firstDiff(to, want))
					}
					c.Decrypt(to, to, 7)
					if !bytes.Equal(to, plain) {
						t.Fatalf("sector %d, %d of them, in place: differs at byte %d", sector, n, firstDiff(to, plain))
					}
				}
			}
			c.Close()
		}
		src.protect(t, unix.PROT_READ|unix.PROT_WRITE)
	})
}

// TestEveryAlignment: source and destination at every offset from a cache
// line, with the bytes around the destination unharmed.
func TestEveryAlignment(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		r := random(t, 11)
		o, key := Options{SectorSize: 656}, randBytes(r, 64) // a turn of 512 bytes, one of 128, one block
		c := newTest(t, impl, key, o)
		plain := randBytes(r, 3*o.SectorSize)
		want := xcrypto(t, key, plain, o, 1)
		src, dst := aligned(len(plain)+64), aligned(len(plain)+128)
		for s := range 64 {
			copy(src[s:], plain)
			for d := range 64 {
				fill(dst, 0xee)
				to := dst[d+1 : d+1+len(plain)]
				c.Encrypt(to, src[s:s+len(plain)], 1)
				if !bytes.Equal(to, want) {
					t.Fatalf("source at %d, destination at %d: differs at byte %d", s, d+1, firstDiff(to, want))
				}
				if dst[d] != 0xee || dst[d+1+len(plain)] != 0xee {
					t.Fatalf("source at %d, destination at %d: wrote beside the destination", s, d+1)
				}
			}
			at := dst[s : s+len(plain)]
			copy(at, want)
			c.Decrypt(at, at, 1)
			if !bytes.Equal(at, plain) {
				t.Fatalf("in place at %d: differs at byte %d", s, firstDiff(at, plain))
			}
		}
	})
}

// aligned returns n bytes that start on a page.
func aligned(n int) []byte {
	b := make([]byte, n+4096)
	skip := -int(address(b)) & 4095
	return b[skip : skip+n]
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// TestNeighbours: source and destination may touch.
func TestNeighbours(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		r := random(t, 12)
		o, key := Options{SectorSize: 512}, randBytes(r, 32)
		c := newTest(t, impl, key, o)
		for n := 1; n <= 20; n++ {
			size := n * o.SectorSize
			both := randBytes(r, 2*size)
			want := xcrypto(t, key, both[:size], o, 3)
			c.Encrypt(both[size:], both[:size], 3)
			if !bytes.Equal(both[size:], want) {
				t.Fatalf("%d sectors into the memory behind: differs", n)
			}
			c.Decrypt(both[:size], both[size:], 3)
			if !bytes.Equal(xcrypto(t, key, both[:size], o, 3), want) {
				t.Fatalf("%d sectors into the memory before: differs", n)
			}
		}
	})
}

// TestLargeBatches: lengths that stream around the caches and that take more
// than one call of a kernel, on and off the alignment that streaming needs.
func TestLargeBatches(t *testing.T) {
	const size = 3<<20 + 512<<10
	r := random(t, 13)
	plain, dst := aligned(size+64), aligned(size+64)
	_, _ = r.Read(plain) // never fails (math/rand/v2)
	key := randBytes(r, 64)
	for _, sector := range []int{512, 528, 4096, 4160, 65536, 1<<20 + 512, 3 << 20} {
		o := Options{SectorSize: sector}
		n := size / sector * sector
		ref := newTest(t, "generic", key, o)
		want := make([]byte, n)
		ref.Encrypt(want, plain[:n], 99)
		eachImpl(t, func(t *testing.T, impl string) {
			c := newTest(t, impl, key, o)
			for _, off := range []int{0, 16} {
				got := dst[off : off+n]
				c.Encrypt(got, plain[:n], 99)
				if !bytes.Equal(got, want) {
					t.Fatalf("sector %d at %d: encrypt differs at byte %d", sector, off, firstDiff(got, want))
				}
				c.Decrypt(got, want, 99)
				if !bytes.Equal(got, plain[:n]) {
					t.Fatalf("sector %d at %d: decrypt differs at byte %d", sector, off, firstDiff(got, plain))
				}
			}
		})
	}
}

// TestUnderLoad shares one Cipher among goroutines while others allocate, do
// arithmetic in vector registers and collect garbage: kernels are interrupted
// by the signals of asynchronous preemption all the time.
func TestUnderLoad(t *testing.T) {
	eachImpl(t, func(t *testing.T, impl string) {
		r := random(t, 14)
		o, key := Options{SectorSize: 4096}, randBytes(r, 64)
		c := newTest(t, impl, key, o)
		plain := randBytes(r, 16*o.SectorSize)
		want := xcrypto(t, key, plain, o, 5)
		var stop atomic.Bool
		var workers, load sync.WaitGroup
		for range 4 {
			workers.Go(func() {
				buf := make([]byte, len(plain))
				for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
					c.Encrypt(buf, plain, 5)
					if !bytes.Equal(buf, want) {
						t.Errorf("encrypt differs at byte %d", firstDiff(buf, want))
						return
					}
					c.Decrypt(buf, buf, 5)
					if !bytes.Equal(buf, plain) {
						t.Errorf("decrypt differs at byte %d", firstDiff(buf, plain))
						return
					}
				}
			})
			load.Go(func() {
				for x := 1.0; !stop.Load(); x = rand.Float64() {
					if f := func(y float64) float64 { return y*2 - y }; f(x) != x {
						t.Error("a floating-point register changed")
						return
					}
					_ = bytes.Clone(plain[:1024])
				}
			})
		}
		load.Go(func() {
			for !stop.Load() {
				runtime.GC()
			}
		})
		workers.Wait()
		stop.Store(true)
		load.Wait()
	})
}
