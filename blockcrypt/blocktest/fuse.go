package blocktest

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
)

// What is needed of linux/fuse.h, protocol 7.31.
const (
	fuseGetattr    = 3
	fuseSetattr    = 4
	fuseForget     = 2
	fuseOpen       = 14
	fuseRead       = 15
	fuseWrite      = 16
	fuseRelease    = 18
	fuseFsync      = 20
	fuseFlush      = 25
	fuseInit       = 26
	fuseInterrupt  = 36
	fuseBatchForg  = 42
	fuseFallocate  = 43
	fuseInHeader   = 40 // length, opcode, unique, node, uid, gid, pid, padding
	fuseOutHeader  = 16 // length, error, unique
	fuseAsyncRead  = 1 << 0
	fuseBigWrites  = 1 << 5
	fuseAsyncDIO   = 1 << 15
	fuseMaxPages   = 1 << 22
	fuseDirectIO   = 1 << 0 // of an open file: no page cache
	fuseParallelIO = 1 << 6 // of an open file: several writes at once
	fuseMaxIO      = 1 << 20
)

var native = binary.NativeEndian

// serve answers requests until the file is unmounted (ENODEV).
func (f *Mounted) serve() {
	in, out := make([]byte, fuseMaxIO+blockdev.PageSize), make([]byte, fuseMaxIO+blockdev.PageSize)
	for {
		n, err := unix.Read(f.dev, in)
		if err == unix.EINTR || err == unix.EAGAIN || err == unix.ENOENT { // ENOENT: it was interrupted
			continue
		}
		if err != nil {
			return
		}
		body, answer := in[fuseInHeader:n], out[fuseOutHeader:]
		opcode, unique := native.Uint32(in[4:]), native.Uint64(in[8:])
		if opcode == fuseForget || opcode == fuseBatchForg || opcode == fuseInterrupt {
			continue // have no answer
		}
		size, errno := f.answer(opcode, body, answer)
		if errno != 0 {
			size = 0
		}
		native.PutUint32(out, uint32(fuseOutHeader+size))
		native.PutUint32(out[4:], uint32(-int32(errno)))
		native.PutUint64(out[8:], unique)
		_, _ = unix.Write(f.dev, out[:fuseOutHeader+size]) // ENOENT: whoever asked is gone
	}
}

// answer carries out one request and returns how many bytes of out to send.
func (f *Mounted) answer(opcode uint32, in, out []byte) (int, unix.Errno) {
	clear(out[:128])
	switch opcode {
	case fuseInit:
		native.PutUint32(out, 7)
		native.PutUint32(out[4:], 31)
		native.PutUint32(out[12:], fuseAsyncRead|fuseBigWrites|fuseAsyncDIO|fuseMaxPages)
		native.PutUint16(out[16:], 64) // requests in the background
		native.PutUint16(out[18:], 64)
		native.PutUint32(out[20:], fuseMaxIO)
		native.PutUint32(out[24:], 1) // ns of a time stamp
		native.PutUint16(out[28:], fuseMaxIO/blockdev.PageSize)
		return 64, 0
	case fuseGetattr, fuseSetattr:
		f.attributes(out)
		return 104, 0
	case fuseOpen:
		native.PutUint32(out[8:], fuseDirectIO|fuseParallelIO)
		return 16, 0
	case fuseRelease, fuseFlush: // flush is what close(2) says
		return 0, 0
	case fuseRead, fuseWrite, fuseFsync, fuseFallocate:
		return f.transfer(opcode, in, out)
	}
	return 0, unix.ENOSYS
}

func (f *Mounted) attributes(out []byte) {
	info := f.drive().Info()
	native.PutUint64(out, 3600) // seconds that it holds
	a := out[16:]
	native.PutUint64(a, 1)
	native.PutUint64(a[8:], uint64(info.Size))
	native.PutUint64(a[16:], uint64(info.Size/512))
	native.PutUint32(a[60:], unix.S_IFREG|0o600)
	native.PutUint32(a[64:], 1)
	native.PutUint32(a[80:], uint32(info.Physical))
}

// transfer hands a request on to the drive.
func (f *Mounted) transfer(opcode uint32, in, out []byte) (int, unix.Errno) {
	r := blockdev.Request{Offset: int64(native.Uint64(in[8:]))}
	switch opcode {
	case fuseRead:
		r.Buf = out[:native.Uint32(in[16:])]
	case fuseWrite:
		r.Op, r.Buf = blockdev.Write, in[40:][:native.Uint32(in[16:])]
		if native.Uint32(in[32:])&unix.O_DSYNC != 0 { // O_SYNC has it too
			r.Flags = blockdev.FUA
		}
	case fuseFsync:
		r = blockdev.Request{Op: blockdev.Flush}
	case fuseFallocate:
		r.Op, r.Length = blockdev.WriteZeroes, int64(native.Uint64(in[16:]))
		if native.Uint32(in[24:])&unix.FALLOC_FL_PUNCH_HOLE != 0 {
			r.Op = blockdev.Discard
		}
	}
	moved, err := f.drive().serve(&r)
	switch errno := unix.Errno(0); {
	case err != nil && errors.As(err, &errno):
		return 0, errno
	case err != nil:
		return 0, unix.EIO
	case opcode == fuseRead:
		return int(moved), 0
	case opcode == fuseWrite:
		native.PutUint32(out, uint32(moved))
		return 8, 0
	}
	return 0, 0
}
