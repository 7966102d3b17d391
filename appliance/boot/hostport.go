package boot

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// hostPortName is the virtio-serial port by which a virtual machine answers
// the host that started it: a tar stream with the files that the job put, and
// last a file "exit" with the exit code. A stream without that is a machine
// that did not get to its end.
const hostPortName = "sealbay.host"

type hostPort struct {
	file *os.File
	tar  *tar.Writer
}

// openHostPort returns nil on a machine without such a port, as any real one.
func openHostPort() (*hostPort, error) {
	names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, path := range names {
		name, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(name)) != hostPortName {
			continue
		}
		f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &hostPort{file: f, tar: tar.NewWriter(f)}, nil
	}
	return nil, nil
}

func (h *hostPort) put(name string, data []byte) error {
	if err := h.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := h.tar.Write(data)
	return errors.Join(err, h.tar.Flush())
}

func (h *hostPort) finish(code int) error {
	return errors.Join(h.put("exit", []byte(strconv.Itoa(code)+"\n")), h.tar.Close(), h.file.Close())
}
