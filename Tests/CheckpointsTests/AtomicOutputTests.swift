import Checkpoints
import Foundation
import Testing

@Suite("Atomic outputs")
struct AtomicOutputTests {
  @Test("A file appears at commit and replaces the old one; without commit nothing changes")
  func files() throws {
    let scratch = try Scratch()
    let path = scratch("a.txt")
    try AtomicFile.write(path: path, text: "one")
    try AtomicFile.write(path: path, bytes: Array("two".utf8))
    #expect(try contents(path) == Array("two".utf8))
    do {
      let first = try AtomicFile(path: path)
      let second = try AtomicFile(path: path)  // two at once do not disturb each other
      try first.write(Array("x".utf8))
      try second.write(Array("three".utf8))
      try second.commit()
      #expect(try scratch.names().count == 2)
    }
    #expect(try contents(path) == Array("three".utf8))
    #expect(try scratch.names() == ["a.txt"])
  }

  @Test("Missing parents, directories in the way and full disks are named")
  func failures() throws {
    let scratch = try Scratch()
    let orphan = scratch("none/a.txt")
    let error = failure { () throws(CheckpointError) in
      try AtomicFile.write(path: orphan, text: "x")
    }
    #expect(error == .parentMissing(path: orphan, parent: scratch("none")))
    #expect(error?.kind == .cannotWrite)
    try FileManager.default.createDirectory(
      atPath: scratch("d"), withIntermediateDirectories: false)
    let occupied = failure { () throws(CheckpointError) in
      try AtomicFile.write(path: scratch("d"), text: "x")
    }
    #expect(occupied?.kind == .cannotWrite)
    #expect(try scratch.names() == ["d"])
    if FileManager.default.fileExists(atPath: "/dev/full") {
      let full = failure { () throws(CheckpointError) in
        let file = try OutputFile(opening: "/dev/full")
        try [UInt8](repeating: 1, count: 10).withUnsafeBufferPointer {
          (bytes) throws(CheckpointError) in try file.write(UnsafeRawBufferPointer(bytes))
        }
      }
      #expect(full == .diskFull(path: "/dev/full"))
      #expect(full?.description.contains("no space") == true)
    }
  }

  @Test(
    "A directory that may not be written gives an error with its path",
    .enabled(if: getuid() != 0, "root may write everywhere"))
  func readOnly() throws {
    let scratch = try Scratch()
    try FileManager.default.setAttributes([.posixPermissions: 0o555], ofItemAtPath: scratch.path)
    let error = failure { () throws(CheckpointError) in
      try AtomicFile.write(path: scratch("a"), text: "x")
    }
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: scratch.path)
    #expect(error?.kind == .cannotWrite && error?.description.contains(scratch("a")) == true)
  }

  @Test("A directory appears whole at commit; without commit nothing is left")
  func directories() throws {
    let scratch = try Scratch()
    let path = scratch("model")
    do {
      let directory = try AtomicDirectory(path: path + "/")
      try AtomicFile.write(path: directory.path(of: "a"), text: "1")
      #expect(try scratch.names() == [".model.tmp-\(getpid())"])
    }
    #expect(try scratch.names().isEmpty)
    let directory = try AtomicDirectory(path: path)
    try AtomicFile.write(path: directory.path(of: "a"), text: "1")
    try directory.commit()
    #expect(try scratch.names() == ["model"])
    #expect(try scratch.names(path) == ["a"])
  }

  @Test("An existing directory is refused or replaced as asked; an empty one is taken")
  func existing() throws {
    let scratch = try Scratch()
    let path = scratch("model")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    try AtomicDirectory(path: path).commit()
    _ = try scratch.file("model/old", [1])
    #expect(
      failure { () throws(CheckpointError) in _ = try AtomicDirectory(path: path) }
        == .alreadyExists(path: path))
    let directory = try AtomicDirectory(path: path, existing: .replace)
    try AtomicFile.write(path: directory.path(of: "new"), text: "1")
    #expect(try scratch.names(path) == ["old"])
    try directory.commit()
    #expect(try scratch.names(path) == ["new"])
    #expect(try scratch.names() == ["model"])
    let file = try scratch.file("file", [1])
    let error = failure { () throws(CheckpointError) in
      _ = try AtomicDirectory(path: file, existing: .replace)
    }
    #expect(error?.kind == .cannotWrite)
    #expect(try contents(file) == [1])
  }

  @Test("Errors while a directory is written name its final path")
  func finalPaths() throws {
    let scratch = try Scratch()
    let directory = try AtomicDirectory(path: scratch("model"))
    let error = failure { () throws(CheckpointError) in
      try directory.writing { () throws(CheckpointError) in
        throw .diskFull(path: directory.path(of: "a"))
      }
    }
    #expect(error == .diskFull(path: scratch("model/a")))
  }

  @Test("A directory that appears while another is written is not overwritten unasked")
  func appearsMeanwhile() throws {
    let scratch = try Scratch()
    let directory = try AtomicDirectory(path: scratch("model"))
    try FileManager.default.createDirectory(
      atPath: scratch("model"), withIntermediateDirectories: false)
    _ = try scratch.file("model/theirs", [1])
    #expect(
      failure { () throws(CheckpointError) in try directory.commit() }
        == .alreadyExists(path: scratch("model")))
    #expect(try scratch.names(scratch("model")) == ["theirs"])
  }

  @Test("Leftovers of dead processes are removed, those of living ones and other names are not")
  func leftovers() throws {
    let scratch = try Scratch()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "exit 0"]
    try process.run()
    process.waitUntilExit()
    let dead = process.processIdentifier
    let parent = getppid()
    for name in [
      ".model.tmp-\(dead)", ".model.tmp-\(dead)-1", ".model.tmp-\(getpid())",
      ".model.tmp-\(parent)", ".other.tmp-\(dead)", ".model.tmp-x",
    ] {
      try FileManager.default.createDirectory(
        atPath: scratch(name + "/sub"), withIntermediateDirectories: true)
      _ = try scratch.file(name + "/sub/f", [1])
    }
    try AtomicDirectory(path: scratch("model")).commit()
    #expect(
      try scratch.names()
        == [".model.tmp-\(parent)", ".model.tmp-x", ".other.tmp-\(dead)", "model"].sorted())
  }

  @Test("An old directory that a crash left aside is put back")
  func interruptedReplacement() throws {
    let scratch = try Scratch()
    for present in [false, true] {
      try FileManager.default.createDirectory(
        atPath: scratch(".model.old"), withIntermediateDirectories: false)
      _ = try scratch.file(".model.old/f", [present ? 2 : 1])
      do { _ = try AtomicDirectory(path: scratch("model"), existing: .replace) }
      #expect(try scratch.names() == ["model"])
      #expect(try contents(scratch("model/f")) == [1])
    }
  }
}
