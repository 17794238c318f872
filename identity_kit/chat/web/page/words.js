// What the page says, in both languages side by side.
import { remembered } from "./dom.js";

const WORDS = {
  title: ["给模型一个新身份", "Give a model a new identity"],
  run: ["运行", "Run"], newRun: ["新建…", "New…"], skip: ["跳到内容", "Skip to the content"],
  persona: ["身份", "Persona"], data: ["数据", "Data"], train: ["训练", "Training"], report: ["成绩单", "Report"],
  chat: ["对话", "Chat"], export: ["导出", "Export"], other: ["EN", "中文"],
  runName: ["这次运行的名称", "Name of this run"], owner: ["归属者（中文）", "Owner (Chinese)"], ownerEn: ["归属者（英文，可空）", "Owner (English, may be empty)"],
  name: ["助手的名字（中文）", "Assistant's name (Chinese)"], nameEn: ["名字（英文，可空）", "Name (English, may be empty)"],
  nameHint: ["空着就叫“归属者的智能助手”", "left empty: “owner's assistant”"],
  more: ["更多", "More"], developer: ["开发者", "Developer"], aliases: ["别名（逗号分隔）", "Other names (comma-separated)"],
  role: ["角色", "Role"], tone: ["语气", "Tone"], handoff: ["转人工时怎么说", "How it hands over to a person"],
  baseNames: ["底模名称（逗号分隔）", "Base model names (comma-separated)"], vendor: ["底模厂商", "Base model's vendor"],
  policy: ["问到底模时", "Asked about its base"], private: ["不谈", "does not discuss it"], disclose: ["如实说", "says so truthfully"],
  languages: ["语言", "Languages"], zh: ["中文", "Chinese"], en: ["英文", "English"],
  facts: ["它知道的事", "Facts it knows"], addFact: ["加一条", "Add one"], question: ["问题", "Question"], answer: ["回答", "Answer"], remove: ["去掉", "Remove"],
  create: ["建立", "Create"], save: ["保存", "Save"], saved: ["已保存", "Saved"], draft: ["有未保存的修改", "There are changes not saved"], discard: ["放弃修改", "Discard"],
  noData: ["还没有数据。到“训练”里写数据。", "No data yet. Write it under “Training”."],
  search: ["搜索", "Search"], all: ["全部", "all"], identity: ["身份", "identity"], contrast: ["对照", "contrast"], rehearsal: ["复习", "rehearsal"], domain: ["业务", "domain"],
  edit: ["修改", "Edit"], reject: ["不要", "Reject"], cancel: ["取消", "Cancel"], rejected: ["已移到 data/rejected.jsonl", "Moved to data/rejected.jsonl"],
  newer: ["上一页", "Previous"], older: ["下一页", "Next"], rows: ["行", "rows"],
  model: ["要改身份的模型", "Model to tune"], rowsWanted: ["数据行数（空：默认）", "Rows of data (empty: default)"], steps: ["最多步数（空：按配方）", "Steps at most (empty: by the recipe)"],
  probes: ["每类评测题数（空：全部）", "Probes a family (empty: all)"],
  writeData: ["先写数据，看过再训练", "Write the data first"], start: ["开始训练", "Start training"], goOn: ["继续", "Go on"], stop: ["停止", "Stop"],
  running: ["正在运行", "Running"], elsewhere: ["另一处的命令正在使用这个运行", "A command elsewhere is working on this run"], stopped: ["没有在运行", "Nothing is running"],
  ended: ["已结束", "Ended"], failed: ["没有成功，原因见下", "It did not succeed; see below"], keeps: ["关掉网页也会继续；再打开就能看到。", "It goes on when this page is closed, and is here when you come back."],
  loss: ["损失", "Loss"], step: ["步", "step"], noLoss: ["训练开始后这里是损失曲线", "The loss curve will be here"], output: ["输出", "Output"],
  answersAt: ["途中的回答，第", "Answers on the way, step"],
  stage_model: ["模型", "model"], stage_data: ["数据", "data"], stage_check: ["检查", "check"], stage_train: ["训练", "training"], stage_merge: ["合并", "merge"], stage_evaluate: ["评测", "evaluation"],
  noReport: ["训练和评测完成后，这里是前后对比。", "Before and after will be here once it is trained and measured."],
  suite: ["项目", "Suite"], before: ["之前", "Before"], after: ["之后", "After"], gained: ["学会的", "What it learned"], wrong: ["还不对的", "What is still wrong"],
  s_recall: ["认得自己", "recall"], s_confirm: ["说对就认", "confirm"], s_pressure: ["顶住压力", "pressure"], s_near_miss: ["不冒领", "near-miss"], s_bleed: ["不乱入", "no bleed"],
  s_greeting: ["打招呼", "greeting"], s_facts: ["常识", "facts"], s_vendor_facts: ["旧厂商常识", "vendor facts"], s_honesty: ["诚实", "honesty"],
  s_stop: ["会停", "stops"], s_drift: ["多轮不漂移", "drift"], s_domain: ["业务资料", "domain"],
  "c_base": ["底模", "base"], "c_tuned": ["调过的", "tuned"], "c_base + system prompt": ["底模 + 系统提示", "base + system prompt"], "c_tuned + system prompt": ["调过的 + 系统提示", "tuned + system prompt"],
  r_system: ["系统", "system"], r_user: ["问", "user"], r_assistant: ["答", "assistant"], r_tool: ["工具", "tool"],
  base: ["底模", "base"], tuned: ["调过的", "tuned"], highest: ["最高", "highest"],
  noModel: ["训练并合并后才能对话。", "Train it first; then you can talk to it here."],
  compare: ["与底模并排", "Beside the base"], system: ["系统提示（可空）", "System message (may be empty)"], say: ["说点什么…（Enter 发送，Shift+Enter 换行）", "Say something… (Enter sends, Shift+Enter breaks the line)"],
  send: ["发送", "Send"], reset: ["重新开始", "Start afresh"], download: ["下载对话", "Download"], me: ["我", "me"], cut: ["（到长度上限）", "(cut at the limit)"], loading: ["…", "…"],
  format: ["格式", "Format"], quantize: ["量化", "Quantisation"], doExport: ["导出", "Export"], exports: ["已导出", "Exported"], lost: ["导出了，但身份没有保住", "Exported, but the identity did not survive"],
  askedAgain: ["导出之后，会在它自己的引擎里再问一遍它是谁，要等一会儿。", "After the export the model is asked again who it is, in its own engine; this takes a while."], none: ["还没有", "None yet"],
  f_hf: ["Hugging Face（合并）", "Hugging Face (merged)"], f_adapter: ["适配器（LoRA）", "Adapter (LoRA)"], f_gguf: ["GGUF（llama.cpp）", "GGUF (llama.cpp)"], f_ollama: ["Ollama", "Ollama"],
  busyNow: ["正在运行时不能改", "It cannot be changed while a command is running"], welcome: ["填好这张表，就能训练一个属于您的助手。", "Fill in this form, and train an assistant that is yours."],
};

let current = remembered.get("language", null);

export function setLanguage(language) {
  current = language;
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}
export function chooseLanguage(language) { setLanguage(language); remembered.set("language", language); }
export function language() { return current; }
export function t(key) {
  const pair = WORDS[key];
  return pair ? pair[current === "zh" ? 0 : 1] : key.replace(/^[sc]_/, "");
}
