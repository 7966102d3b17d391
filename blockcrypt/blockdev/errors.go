package blockdev

import (
	"errors"
	"fmt"
)

// What a caller acts on. They are wrapped in an *OpError where a request or
// a device is concerned.
var (
	// ErrClosed: the queue or device was closed.
	ErrClosed = errors.New("closed")
	// ErrUnaligned: offset, length or buffer address is not a multiple of
	// what Info asks for.
	ErrUnaligned = errors.New("not aligned")
	// ErrOutOfRange: the request reaches past the end of the device.
	ErrOutOfRange = errors.New("past the end of the device")
	// ErrTooLarge: the request is larger than QueueOptions.MaxTransfer.
	ErrTooLarge = errors.New("larger than the queue's transfer size")
	// ErrReadOnly: a write to a device opened for reading.
	ErrReadOnly = errors.New("device is read-only")
	// ErrNotSupported: the device does not know the operation.
	ErrNotSupported = errors.New("operation not supported by the device")
	// ErrBusy: the device is mounted, or another has it open for writing.
	ErrBusy = errors.New("device is in use")
	// ErrShort: the kernel moved fewer bytes than asked and no error.
	ErrShort = errors.New("short transfer")
)

// OpError is a failed operation on a device.
type OpError struct {
	Op     Op
	Path   string
	Offset int64 // bytes
	Length int64 // bytes
	Err    error // a syscall.Errno, or one of the sentinels
}

// Error names operation, device and place: "write /dev/sda at 4096+512: input/output error".
func (e *OpError) Error() string {
	if e.Op == Flush {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("%s %s at %d+%d: %v", e.Op, e.Path, e.Offset, e.Length, e.Err)
}

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }

// NewOpError returns the error of request r on the device at path.
func NewOpError(r *Request, path string, err error) *OpError {
	return &OpError{Op: r.Op, Path: path, Offset: r.Offset, Length: r.Span(), Err: err}
}
