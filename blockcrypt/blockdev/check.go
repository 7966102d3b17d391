package blockdev

import "unsafe"

// Check returns nil, or the *OpError of a request that no queue over a device
// like info may pass on. Every implementation calls it first, so that a
// malformed request gets the same answer everywhere.
func Check(r *Request, info *Info) error {
	if err := check(r, info); err != nil {
		return NewOpError(r, info.Path, err)
	}
	return nil
}

func check(r *Request, info *Info) error {
	if r.Op > WriteZeroes {
		return ErrNotSupported
	}
	if r.Op == Flush {
		return nil
	}
	if info.ReadOnly && r.Op != Read {
		return ErrReadOnly
	}
	n, sector := r.Span(), int64(info.Sector)
	if n <= 0 || r.Offset < 0 || n%sector != 0 || r.Offset%sector != 0 {
		return ErrUnaligned
	}
	if r.Offset > info.Size-n {
		return ErrOutOfRange
	}
	if (r.Op == Read || r.Op == Write) && !Aligned(r.Buf, info.Align) {
		return ErrUnaligned
	}
	return nil
}

// Aligned reports whether buf starts at a multiple of align bytes.
func Aligned(buf []byte, align int) bool {
	return align <= 1 || uintptr(unsafe.Pointer(unsafe.SliceData(buf)))%uintptr(align) == 0
}
