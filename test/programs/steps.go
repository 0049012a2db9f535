// A program of Go's own compiler: goroutines that sleep, more memory than it begins with, files, lines that are typed.
package main

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Goroutines that sleep for different times end in that order, all within the longest.
func clock() {
	began := time.Now()
	var order []int
	var mutex sync.Mutex
	var all sync.WaitGroup
	for n := 5; n > 0; n-- {
		all.Add(1)
		go func(n int) {
			defer all.Done()
			time.Sleep(time.Duration(n) * 200 * time.Millisecond)
			mutex.Lock()
			order = append(order, n)
			mutex.Unlock()
		}(n)
	}
	all.Wait()
	took := time.Since(began)
	fmt.Println("order", order, took >= time.Second && took < 2900*time.Millisecond, began.Year() >= 2024)
}

// Garbage of several times what the domain has.
func memory() {
	total := 0
	for n := 0; n < 200; n++ {
		block := make([]byte, 1<<20)
		block[n] = byte(n)
		total += len(block) >> 20
	}
	fmt.Println("allocated", total)
}

func must(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(3)
	}
}

// A line more each time, by way of another file; then a place far behind the end.
func files(root string) {
	note := filepath.Join(root, "a/b/note")
	must(os.MkdirAll(filepath.Dir(note), 0o755))
	old, err := os.ReadFile(note)
	if !os.IsNotExist(err) {
		must(err)
	}
	must(os.WriteFile(note+".new", append(old, []byte("a line\n")...), 0o644))
	must(os.Rename(note+".new", note))
	must(filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			fmt.Println("file", path)
		}
		return err
	}))
	text, err := os.ReadFile(note)
	must(err)
	fmt.Print(string(text))
	file, err := os.OpenFile(filepath.Join(root, "far"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	must(err)
	defer file.Close()
	_, err = file.WriteAt([]byte("end"), 10_000)
	must(err)
	info, err := file.Stat()
	must(err)
	fmt.Println("far", info.Size())
	must(file.Sync())
}

func echo() {
	heard := make(chan string)
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			heard <- in.Text()
		}
		close(heard)
	}()
	for line := range heard {
		fmt.Println("heard", line)
	}
	os.Exit(9)
}

func main() {
	fmt.Println("arguments", os.Args[1:], os.Getenv("WHO"))
	switch os.Args[1] {
	case "clock":
		clock()
	case "memory":
		memory()
	case "files":
		files(os.Args[2])
	case "echo":
		echo()
	default:
		panic("there is no such step")
	}
}
