import Graft

let config = LoRAConfig(
  taskType: .seq2seqLM, inferenceMode: false, rank: 8, alpha: 32, dropout: 0.1)
let peft = try getPeftModel(AutoModelForSeq2SeqLM.fromPretrained("demo-t5"), config)
peft.printTrainableParameters()

let tokenizer = try Tokenizer(directory: "demo-t5")
let encoder = try Seq2SeqEncoder(tokenizer: tokenizer, maximumLength: 128)
let examples = try encoder.encode(path: "Examples/dates/train.jsonl").examples
var options = TrainingOptions()
(options.batchSize, options.maximumSteps, options.learningRate) = (8, 20, 1e-3)
let trainer = try Trainer(model: peft, examples: examples, options: options, directory: "t5-run")
_ = try trainer.run(resuming: false)
try peft.savePretrained("t5-adapter")

let base = try AutoModelForSeq2SeqLM.fromPretrained("demo-t5")
let tuned = try PeftModel.fromPretrained(base, "t5-adapter")
let ids = tokenizer.encode("Write as YYYY-MM-DD: May 2nd, 1999")
let answer = try tuned.generate(prompts: [ids], maximumNewTokens: 12)
print(tokenizer.decode(answer[0], skipSpecialTokens: true))
