package boot

import (
	"strings"
	"testing"
)

func TestParseUevent(t *testing.T) {
	for _, c := range []struct {
		fields []string
		want   string
	}{
		{[]string{"add@/devices/pci0", "ACTION=add", "DEVPATH=/devices/pci0", "MODALIAS=pci:v1", "SEQNUM=1"}, "pci:v1"},
		{[]string{"add@/x", "MODALIAS=virtio:d2", "ACTION=add"}, "virtio:d2"},
		{[]string{"remove@/x", "ACTION=remove", "MODALIAS=pci:v1"}, ""},
		{[]string{"add@/x", "ACTION=add"}, ""},
		{nil, ""},
	} {
		if got := parseUevent(strings.Join(c.fields, "\x00") + "\x00"); got != c.want {
			t.Errorf("%q: %q, want %q", c.fields, got, c.want)
		}
	}
}

// FuzzParseUevent: whatever it reads, an alias is a field of the message.
func FuzzParseUevent(f *testing.F) {
	f.Add("add@/devices/pci0\x00ACTION=add\x00MODALIAS=pci:v1\x00")
	f.Add("ACTION=add\x00MODALIAS=")
	f.Fuzz(func(t *testing.T, message string) {
		if alias := parseUevent(message); alias != "" && !strings.Contains("\x00"+message+"\x00", "\x00MODALIAS="+alias+"\x00") {
			t.Errorf("%q is no alias of %q", alias, message)
		}
	})
}

func TestUeventSocketOpens(t *testing.T) {
	f, err := openUevents()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
