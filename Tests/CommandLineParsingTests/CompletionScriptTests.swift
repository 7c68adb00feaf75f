import CommandLineParsing
import Testing

private enum Precision: String, CaseIterable, OptionValue { case float32, bfloat16 }

private let commands = [
  CommandSpecification(name: "", summary: "Graft.", options: [Flag("version", help: "Version.")]),
  CommandSpecification(
    name: "train", summary: "Trains: the user's [model].",
    options: [
      Option("precision", default: Precision.float32, short: "p", help: "It's a format: [x]."),
      Option<String>("output", default: nil, help: "Directory."), Flag("packing", help: "Pack."),
    ]),
]

@Suite struct CompletionScriptTests {
  @Test(arguments: ["bash", "zsh", "fish"])
  func `a script holds the commands, options and choices`(shell: String) throws {
    let script = try completionScript(shell: shell, program: "graft", commands: commands)
    for word in ["train", "precision", "output", "no-packing", "version", "float32 bfloat16"] {
      #expect(script.contains(word), "\(word)")
    }
  }

  @Test func `special characters of help texts are escaped for each shell`() throws {
    let zsh = try completionScript(shell: "zsh", program: "graft", commands: commands)
    #expect(zsh.contains(#"'train:Trains\: the user'\''s \[model\].'"#))
    #expect(zsh.contains(#"'--precision=[It'\''s a format\: \[x\].]:float32|bfloat16:"#))
    let fish = try completionScript(shell: "fish", program: "graft", commands: commands)
    #expect(fish.contains(#"-l precision -s p -x -a 'float32 bfloat16' -d 'It\'s a format: [x].'"#))
  }

  @Test func `another shell is an error that names the three`() {
    #expect(
      throws: UsageError(
        "no completion for the shell 'fsh', only bash, zsh and fish; did you mean zsh?")
    ) {
      try completionScript(shell: "fsh", program: "graft", commands: commands)
    }
  }
}
