// Package audit keeps the audit log: one JSON object a line, appended and
// synced. It holds who, when, what and the outcome, never a key.
package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"sealbay/appliance/rest"
)

// Log is an open audit log. Its methods may be called from any goroutine.
type Log struct {
	path string

	mu sync.Mutex // guards f and the order of lines
	f  *os.File
}

// Open opens or creates the log at path, mode 0600. A last line that a power
// cut left torn is ended, so that the next entry has a line of its own.
func Open(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if err := errors.Join(endLine(f), syncFolder(filepath.Dir(path))); err != nil {
		return nil, errors.Join(fmt.Errorf("audit log %s: %w", path, err), f.Close())
	}
	return &Log{path: path, f: f}, nil
}

func endLine(f *os.File) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.WriteString("\n")
	return err
}

// syncFolder makes the log's name durable.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Record appends e and returns once it is on stable storage.
func (l *Log) Record(e rest.AuditEntry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	if err := l.f.Sync(); err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	return nil
}

// Last returns the newest n entries, oldest first; all for n <= 0. A torn line
// is passed over.
func (l *Log) Last(n int) ([]rest.AuditEntry, error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	defer f.Close()
	var all []rest.AuditEntry
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		var e rest.AuditEntry
		if len(bytes.TrimSpace(line)) > 0 && json.Unmarshal(line, &e) == nil {
			all = append(all, e)
		}
		if n > 0 && len(all) > 2*n {
			all = append(all[:0], all[len(all)-n:]...)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
	}
	if n > 0 && len(all) > n {
		all = all[len(all)-n:]
	}
	return all, nil
}

// Close closes the log.
func (l *Log) Close() error { return l.f.Close() }
