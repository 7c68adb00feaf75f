import Graft

let model = try AutoModelForCausalLM.fromPretrained("demo-model")
let config = LoRAConfig(rank: 8, alpha: 16, targetModules: .allLinear)
let peft = try PeftModel(model, config)
peft.printTrainableParameters()
let tokenizer = try Tokenizer(directory: "demo-model")
let ids = tokenizer.encode("The date is")
let answer = try model.generate(prompts: [ids], maximumNewTokens: 8, endOfTextIDs: [])
print(tokenizer.decode(answer[0]))
try peft.savePretrained("demo-adapter")
