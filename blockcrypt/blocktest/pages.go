package blocktest

import "maps"

const pageSize = 4096

type page [pageSize]byte

// pages is the sparse content of a drive: page number to page, zeros where
// there is none. A page is never changed once it is in the map, so that
// clones share them.
type pages map[int64]*page

var (
	zeroPage    = new(page)
	garbagePage = func() *page {
		p := new(page)
		for i := range p {
			p[i] = 0xDD
		}
		return p
	}()
)

func (p pages) clone() pages { return maps.Clone(p) }

func (p pages) at(n int64) *page {
	if pg := p[n]; pg != nil {
		return pg
	}
	return zeroPage
}

func (p pages) read(off int64, buf []byte) {
	for len(buf) > 0 {
		n := copy(buf, p.at(off / pageSize)[off%pageSize:])
		buf, off = buf[n:], off+int64(n)
	}
}

func (p pages) write(off int64, buf []byte) {
	for len(buf) > 0 {
		pg := *p.at(off / pageSize)
		n := copy(pg[off%pageSize:], buf)
		p[off/pageSize] = &pg
		buf, off = buf[n:], off+int64(n)
	}
}

// fill writes n bytes of pattern; whole pages share it.
func (p pages) fill(off, n int64, pattern *page) {
	for n > 0 {
		part := min(n, pageSize-off%pageSize)
		if part == pageSize {
			p[off/pageSize] = pattern
		} else {
			p.write(off, pattern[:part])
		}
		off, n = off+part, n-part
	}
}
