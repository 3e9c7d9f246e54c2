package hub

// Progress is told how a pull goes. Calls come one at a time, from the
// goroutine that called Pull or from one that Pull waits for.
type Progress interface {
	// File says that a file has begun; size is -1 while it is not known.
	File(name string, size int64)
	// At says how many bytes of that file are here. It can jump forward
	// (what an earlier pull left is used) and back (it had to be dropped).
	At(done int64)
	// Note passes on one line worth knowing: another process is waited for,
	// a download is tried again.
	Note(text string)
}

type silence struct{}

func (silence) File(string, int64) {}
func (silence) At(int64)           {}
func (silence) Note(string)        {}
