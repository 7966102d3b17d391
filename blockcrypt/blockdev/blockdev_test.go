package blockdev

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	arena, err := NewArena(3 * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer arena.Close()
	buf := arena.Cut(2 * PageSize)
	rw := Info{Path: "disk", Size: 1 << 20, Sector: 512, Align: 512}
	ro := rw
	ro.ReadOnly = true
	for _, c := range []struct {
		name string
		info Info
		req  Request
		want error
	}{
		{"read", rw, Request{Op: Read, Buf: buf[:512]}, nil},
		{"last sector", rw, Request{Op: Write, Offset: 1<<20 - 512, Buf: buf[:512]}, nil},
		{"flush ignores the rest", rw, Request{Op: Flush, Offset: -7, Length: 3}, nil},
		{"flush of a read-only device", ro, Request{Op: Flush}, nil},
		{"discard", rw, Request{Op: Discard, Offset: 4096, Length: 4096}, nil},
		{"nil buffer", rw, Request{Op: Read}, ErrUnaligned},
		{"part of a sector", rw, Request{Op: Read, Buf: buf[:511]}, ErrUnaligned},
		{"between sectors", rw, Request{Op: Read, Offset: 1, Buf: buf[:512]}, ErrUnaligned},
		{"negative offset", rw, Request{Op: Read, Offset: -512, Buf: buf[:512]}, ErrUnaligned},
		{"odd address", rw, Request{Op: Write, Buf: buf[16 : 16+512]}, ErrUnaligned},
		{"negative length", rw, Request{Op: Discard, Length: -512}, ErrUnaligned},
		{"one sector too far", rw, Request{Op: Write, Offset: 1 << 20, Buf: buf[:512]}, ErrOutOfRange},
		{"across the end", rw, Request{Op: Read, Offset: 1<<20 - 512, Buf: buf[:1024]}, ErrOutOfRange},
		{"sum would overflow", rw, Request{Op: Read, Offset: math.MaxInt64 &^ 511, Buf: buf[:512]}, ErrOutOfRange},
		{"write to read-only", ro, Request{Op: Write, Buf: buf[:512]}, ErrReadOnly},
		{"zeroes to read-only", ro, Request{Op: WriteZeroes, Length: 512}, ErrReadOnly},
		{"unknown operation", rw, Request{Op: WriteZeroes + 1}, ErrNotSupported},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Check(&c.req, &c.info)
			if !errors.Is(got, c.want) {
				t.Fatalf("Check = %v, want %v", got, c.want)
			}
			if op := new(OpError); got != nil && (!errors.As(got, &op) || op.Path != "disk" || op.Op != c.req.Op) {
				t.Errorf("error %v does not name operation and device", got)
			}
		})
	}
}

func TestOpErrorText(t *testing.T) {
	for want, err := range map[string]*OpError{
		"write /dev/sda at 4096+512: input/output error": {Op: Write, Path: "/dev/sda", Offset: 4096, Length: 512, Err: unix.EIO},
		"flush /dev/sda: input/output error":             {Op: Flush, Path: "/dev/sda", Err: unix.EIO},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if !errors.Is(err, unix.EIO) {
			t.Errorf("%v hides its cause", err)
		}
	}
}

// Stamps of the kernel stand beside those of Now: a microsecond apart and they
// are out of order.
func TestNowIsTheKernelsClock(t *testing.T) {
	window, off := int64(math.MaxInt64), int64(0)
	for range 10_000 {
		before := monotonic()
		now := Now()
		after := monotonic()
		if after-before < window {
			window, off = after-before, now-(before+after)/2
		}
	}
	// Half the window here, as much again when epoch was taken.
	if off < -window || off > window {
		t.Errorf("Now is %d ns off CLOCK_MONOTONIC, read within %d ns", off, window)
	}
}

func TestArena(t *testing.T) {
	a, err := NewArena(3*PageSize - 1)
	if err != nil {
		t.Fatal(err)
	}
	first, second := a.Cut(100), a.Cut(PageSize)
	if len(a.Bytes()) != 3*PageSize || !Aligned(first, PageSize) || !Aligned(second, PageSize) {
		t.Errorf("arena of %d bytes cut into %p and %p: not pages", len(a.Bytes()), first, second)
	}
	if len(first) != 100 || cap(first) != 100 {
		t.Errorf("cut of 100 bytes has length %d, capacity %d", len(first), cap(first))
	}
	if !a.Contains(second) || a.Contains(make([]byte, 8)) || a.Contains(nil) {
		t.Error("Contains does not know what is inside")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := NewArena(0); err == nil {
		t.Error("an arena of no bytes was made")
	}
}

func TestArenaUsedUpPanics(t *testing.T) {
	a, err := NewArena(PageSize)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.Cut(1)
	defer func() {
		if msg := fmt.Sprint(recover()); msg != "blockdev: cutting 1 bytes from an arena with 0 left" {
			t.Errorf("panic %q", msg)
		}
	}()
	a.Cut(1)
}
