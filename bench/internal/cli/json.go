package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// jsonOut is where the JSON goes: nowhere, standard output, or a file. A file
// is begun under another name before the run, so that a folder that cannot be
// written to costs no measurement, and takes its place when it is whole: what
// stood there before is not lost to a run that fails.
type jsonOut struct {
	w    io.Writer
	f    *os.File
	path string
}

func createJSON(path string, stdout io.Writer) (*jsonOut, error) {
	switch path {
	case "":
		return &jsonOut{}, nil
	case "-":
		return &jsonOut{w: stdout}, nil
	}
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		// A pipe or a terminal is written to as it is.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("--json: %w", err)
		}
		return &jsonOut{w: f, f: f}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".sealbench-json-*")
	if err != nil {
		return nil, fmt.Errorf("--json %s: %w", path, err)
	}
	return &jsonOut{w: f, f: f, path: path}, nil
}

// writeJSON writes what write writes to path, or to stdout.
func writeJSON(path string, stdout io.Writer, write func(io.Writer) error) error {
	j, err := createJSON(path, stdout)
	if err != nil {
		return err
	}
	return errors.Join(j.write(write), j.drop())
}

// write writes the result, whole or not at all.
func (j *jsonOut) write(write func(io.Writer) error) error {
	if j.w == nil {
		return nil
	}
	if err := write(j.w); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	if j.path == "" {
		return nil
	}
	if err := errors.Join(j.f.Chmod(0o644), os.Rename(j.f.Name(), j.path)); err != nil {
		return fmt.Errorf("--json: %w", err)
	}
	j.path = ""
	return nil
}

// drop closes the file and removes what was not finished.
func (j *jsonOut) drop() error {
	if j.f == nil {
		return nil
	}
	err := j.f.Close()
	if j.path != "" {
		err = errors.Join(err, os.Remove(j.f.Name()))
	}
	return err
}
