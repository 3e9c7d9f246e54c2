package main

import (
	"fmt"
	"os"
	"strings"
)

const sectionEnd = "<!-- measured: end -->"

// writeSection replaces what a page has between a section's mark and the end
// mark after it. What stands outside is written by hand and stays.
func writeSection(page, name, text string) error {
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	changed, err := replaceSection(string(old), name, text)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(changed), 0o644)
}

func replaceSection(page, name, text string) (string, error) {
	begin := "<!-- measured: " + name + " -->"
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("there is no line %q; put one where the section belongs, and %q after it", begin, sectionEnd)
	}
	old, after, ok := strings.Cut(rest, sectionEnd)
	if !ok || strings.Contains(old, "<!-- measured: ") {
		return "", fmt.Errorf("there is no line %q after %q", sectionEnd, begin)
	}
	return before + begin + "\n\n" + strings.TrimSpace(text) + "\n\n" + sectionEnd + after, nil
}
