package qemu

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Answer is what a machine's job handed over.
type Answer struct {
	Exit  int               // exit code of the job
	Files map[string][]byte // what it put, by base name
}

// ErrNoAnswer: the machine ended before its job did. A panic, a crash of
// PID 1, or an early power-off.
var ErrNoAnswer = errors.New("the machine ended without telling how its job ended")

// readAnswer reads what came through the port sealbay.host.
func readAnswer(path string) (Answer, error) {
	f, err := os.Open(path)
	if err != nil {
		return Answer{}, err
	}
	defer f.Close()
	return parseAnswer(f)
}

// parseAnswer reads the port's tar stream (appliance/boot).
func parseAnswer(r io.Reader) (Answer, error) {
	a := Answer{Files: map[string][]byte{}}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err != nil {
			return Answer{}, ErrNoAnswer
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return Answer{}, ErrNoAnswer
		}
		if h.Name != "exit" {
			a.Files[h.Name] = data
			continue
		}
		if a.Exit, err = strconv.Atoi(strings.TrimSpace(string(data))); err != nil {
			return Answer{}, fmt.Errorf("the machine's exit code is %q: %w", data, err)
		}
		return a, nil
	}
}
